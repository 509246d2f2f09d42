import * as z from 'zod';
import { boolean, folderPath, integer, key, size } from '../types/key-type.ts';

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
});
