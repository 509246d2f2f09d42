import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parseHtpasswd, type HtpasswdLimits } from '../auth/htpasswd/htpasswd.ts';
import { addUser } from '../auth/htpasswd/htpasswd-editor.ts';
import { decodeHtpasswd } from '../auth/htpasswd/htpasswd-text.ts';

const firstName = 'admin';
const passwordLength = 24;
/** Only unambiguous characters: no 0 and O, no 1, I and l. */
const alphabet = 'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789';

/** `name` is null when nobody can log in; `password` is set only for a user that was just created. */
export type FirstUser = { readonly name: string; readonly password: string | null };

/** Finds the first user of an htpasswd file who can log in, and creates one with a random password if there is none. */
export async function ensureFirstUser(path: string, limits: HtpasswdLimits): Promise<FirstUser> {
  const [present] = parseHtpasswd(await readIfThere(path), limits).entries.keys();
  if (present !== undefined) return { name: present, password: null };
  const password = Array.from({ length: passwordLength }, () => alphabet[randomInt(alphabet.length)]).join(
    '',
  );
  await addUser({ file: path, name: firstName, password });
  return { name: firstName, password };
}

async function readIfThere(path: string): Promise<string> {
  try {
    return decodeHtpasswd(await readFile(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
