import type { Cluster, Redis } from 'ioredis';

/** A Lua script and its hash. */
export type Script = { readonly text: string; readonly sha1: string };

/** Commands whose answer is bytes, which ioredis has and its types leave out. */
type BufferCommands = Record<
  'evalshaBuffer' | 'evalBuffer',
  (script: string, keyCount: number, ...rest: (string | Buffer)[]) => Promise<unknown>
>;

/** Runs a script by its hash, and by its text when Redis does not know it yet. @throws Error as Redis says it. */
export async function runScript(
  redis: Redis | Cluster,
  { text, sha1 }: Script,
  keys: readonly string[],
  args: readonly (string | Buffer)[],
): Promise<unknown> {
  const commands = redis as unknown as BufferCommands;
  try {
    return await commands.evalshaBuffer(sha1, keys.length, ...keys, ...args);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
    return commands.evalBuffer(text, keys.length, ...keys, ...args);
  }
}
