import type { Cluster, Redis } from 'ioredis';

/** A Lua script and its hash. */
export type Script = { readonly text: string; readonly sha1: string };

/** Commands that return bytes, which ioredis has but its types lack. */
type BufferCommands = Record<
  'evalshaBuffer' | 'evalBuffer',
  (script: string, keyCount: number, ...rest: (string | Buffer)[]) => Promise<unknown>
>;

/** Runs a script by its hash, or by its text if Redis does not know it. @throws Error of Redis */
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
