import * as z from 'zod';
import { duration, integer, key } from './key-type.ts';

/** `auth.throttle`: against guessing passwords. */
export const loginThrottle = z.strictObject({
  addressFailures: key(
    integer(0, 1_000_000),
    10,
    'Wrong passwords from one client address, or one IPv6 /64 network, that begin a lock-out: further ones from there are answered with 429 unseen. 0: none ever does.',
  ),
  nameFailures: key(
    integer(0, 1_000_000),
    30,
    'Wrong passwords under one name, from anywhere, that begin a lock-out of that name. 0: none ever does.',
  ),
  repeatFailures: key(
    integer(0, 1_000_000),
    30,
    'How often the very same wrong name and password may come from one address until just that is locked out there. It counts for the address and the name once only. 0: every time, and is not locked out by itself.',
  ),
  window: key(duration('1s', '1d'), '10m', 'The time within which wrong passwords are counted together.'),
  lockTime: key(
    duration('1s', '1d'),
    '1m',
    'How long the first lock-out lasts. Each further one lasts twice as long, until there has been none for a day.',
  ),
  maxLockTime: key(duration('1s', '1d'), '1h', 'How long a lock-out lasts at most.'),
  answerDelay: key(
    duration('0', '1m'),
    '1s',
    'How long the 429 to an attempt that is locked out is held back: answered at once, those who try without pause would slow everybody down. 0: not at all.',
  ),
  entries: key(
    integer(100, 10_000_000),
    100_000,
    'How many addresses, and how many names, are counted, by each worker. Beyond it those that failed least recently are forgotten.',
  ),
});
