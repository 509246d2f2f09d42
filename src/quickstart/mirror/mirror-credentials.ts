import { readFile, stat } from 'node:fs/promises';
import { OperatorError } from '../../system/operator-error.ts';

export type MirrorCredentials = { readonly username: string; readonly password: string };

/**
 * Loads credentials for sources of mirrors: lines of `SOURCE USER PASSWORD`, with `#` before a comment.
 * @returns by source, such as docker.io
 * @throws OperatorError, also when others than the owner may read the file.
 */
export async function loadMirrorCredentials(path: string): Promise<Map<string, MirrorCredentials>> {
  const fail = (what: string): never => {
    throw new OperatorError(`--mirror-credentials: ${path} ${what}`);
  };
  const readable = stat(path).catch((error: unknown) =>
    fail(`cannot be read (${(error as NodeJS.ErrnoException).code}): name a file that is there.`),
  );
  const { mode } = await readable;
  if ((mode & 0o077) !== 0) fail(`is open to other users of this machine: chmod 600 ${path}`);
  const text = await readFile(path, 'utf8');
  const found = new Map<string, MirrorCredentials>();
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    const [, source = '', username = '', password = ''] = /^(\S+)\s+(\S+)\s+(\S.*)$/.exec(line.trim()) ?? [];
    if (password === '')
      fail(`line ${index + 1}: write SOURCE USER PASSWORD, such as: docker.io alice SECRET`);
    if (found.has(source)) fail(`line ${index + 1}: has ${source} a second time: leave one line.`);
    found.set(source, { username, password });
  }
  return found;
}
