import * as z from 'zod';
import { duration, integer, key } from '../types/key-type.ts';

/** `auth.throttle`: against guessing passwords. */
export const loginThrottle = z.strictObject({
  addressFailures: key(
    integer(0, 1_000_000),
    10,
    'Wrong passwords from one client address, or one IPv6 /64 network, that start a lock-out: further attempts from there get 429 without a check. 0: never.',
  ),
  nameFailures: key(
    integer(0, 1_000_000),
    30,
    'Wrong passwords for one name, from anywhere, that start a lock-out of that name. 0: never.',
  ),
  repeatFailures: key(
    integer(0, 1_000_000),
    30,
    'How often the same wrong name and password may come from one address before that pair is locked out there. It counts only once for the address and the name. 0: it counts every time, and the pair is never locked out by itself.',
  ),
  window: key(duration('1s', '1d'), '10m', 'Period over which wrong passwords are counted.'),
  lockTime: key(
    duration('1s', '1d'),
    '1m',
    'Length of the first lock-out. Each further one lasts twice as long, until a day passes without one.',
  ),
  maxLockTime: key(duration('1s', '1d'), '1h', 'Longest lock-out.'),
  answerDelay: key(
    duration('0', '1m'),
    '1s',
    'How long the 429 of a locked-out attempt is held back, so that clients which retry without a pause slow nobody down. 0: not at all.',
  ),
  entries: key(
    integer(100, 10_000_000),
    100_000,
    'How many addresses and how many names each worker counts. Beyond it the ones that failed least recently are forgotten.',
  ),
});
