import * as z from 'zod';
import { boolean, duration, key } from '../types/key-type.ts';

/** `console`: the web page at `/ui/`. */
export const console = z.strictObject({
  enabled: key(
    boolean(),
    true,
    'Whether the console is at /ui/, where a browser that asks for / is led. With `state.usage` it also keeps lists of repositories and tags.',
  ),
  sessionTtl: key(
    duration('1s'),
    '8h',
    'How long a login at the console lasts. It ends earlier with the user, the password or the machine token.',
  ),
});
