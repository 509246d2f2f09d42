import * as z from 'zod';
import { boolean, duration, folderPath, integer, key, size } from '../types/key-type.ts';

/** `state`: what Tidegate itself remembers on disk. */
export const state = z.strictObject({
  dir: key(
    folderPath(),
    'var/state',
    'Folder in which Tidegate keeps what it remembers. Created when missing; if it cannot be written, that is logged, nothing is remembered, and no tag is deleted before a registry that deletes only digests.',
  ),
  usage: key(
    boolean(),
    true,
    'Whether it is recorded what is pulled and pushed when, and by whom (`tidegate usage`).',
  ),
  usageRows: key(
    integer(1000, 1_000_000),
    200_000,
    'Rows of that record: one for each repository, tag, digest, and day of a user. Beyond it the oldest go.',
  ),
  usageBytes: key(
    size('1MiB', '4GiB'),
    '64MiB',
    'Size of that record on disk, without its journal of some 4 MiB. Beyond it the oldest rows go.',
  ),
  inventoryRows: key(
    integer(1000, 10_000_000),
    1_200_000,
    'Repositories and tags in the lists of the console. Beyond it further ones are left out, and the lists say so.',
  ),
  inventoryBytes: key(
    size('1MiB', '4GiB'),
    '256MiB',
    'Size of these lists on disk, in the file of the record of usage and beside state.usageBytes. Beyond it further repositories and tags are left out.',
  ),
  inventoryDelay: key(
    duration('0'),
    '1m',
    'How long after the start the registry is first asked what it has.',
  ),
});
