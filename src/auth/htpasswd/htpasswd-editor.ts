import { OperatorError } from '../../system/operator-error.ts';
import { readHtpasswdText } from './htpasswd-content.ts';
import { decodeHtpasswd, encodeHtpasswd } from './htpasswd-text.ts';
import { parseHtpasswdLine } from './htpasswd.ts';
import { replaceFile } from '../../system/files/locked-file.ts';
import { tokenPrefix } from '../machine-tokens/machine-token.ts';
import { hashPassword } from '../password/password-hash.ts';

const maxNameBytes = 255;
/** bcrypt reads only this much of a password; the rest would be ignored silently. */
const maxBcryptPasswordBytes = 72;

/**
 * Writes a user into an htpasswd file with a bcrypt hash of cost 10: in place of the effective line of the name, else
 * at the end. All other lines stay byte for byte. The file is replaced atomically, and created if missing.
 *
 * @throws OperatorError when name, password or file can't be used
 */
export async function addUser(options: {
  file: string;
  name: string;
  password: string;
}): Promise<'added' | 'changed'> {
  const { file, name, password } = options;
  checkUserName(name);
  checkNewPassword(password);
  return writeUser(file, name, hashPassword(password), true);
}

/** Somebody else has removed a user meanwhile, or changed the password. */
export class UserChangedError extends OperatorError {}

/**
 * Gives a user another hash, as {@link addUser} does.
 *
 * @param isStill whether the hash that is there may be replaced
 * @throws UserChangedError when the user is gone or has got another hash
 * @throws OperatorError when the file can't be changed
 */
export async function changeHash(options: {
  file: string;
  name: string;
  hash: string;
  isStill: (hash: string) => boolean;
}): Promise<void> {
  const { file, name, hash, isStill } = options;
  await writeUser(file, name, hash, false, isStill);
}

async function writeUser(
  file: string,
  name: string,
  hash: string,
  mayAdd: boolean,
  isStill: (hash: string) => boolean = () => true,
): Promise<'added' | 'changed'> {
  const line = `${name}:${hash}`;
  let outcome: 'added' | 'changed' = 'added';
  await replaceFile(file, (old) => {
    const lines = splitLines(decodeFile(file, old));
    const index = lines.findIndex((other) => isLineOf(other, name));
    const replaced = lines[index];
    if (!mayAdd && !isStill(hashIn(replaced)))
      throw new UserChangedError(`The user ${name} has been changed meanwhile in ${file}.`);
    outcome = replaced === undefined ? 'added' : 'changed';
    if (replaced !== undefined) {
      const bom = replaced.startsWith('\uFEFF') ? '\uFEFF' : '';
      lines[index] = bom + line + ending(replaced);
      return encodeHtpasswd(lines.join(''));
    }
    const newline = ending(lines[0] ?? '') || '\n';
    const last = lines.at(-1);
    const gap = last === undefined || last === '\uFEFF' || ending(last) !== '' ? '' : newline;
    return encodeHtpasswd(lines.join('') + gap + line + newline);
  });
  return outcome;
}

/**
 * Removes a user from an htpasswd file: every line of the name, since otherwise a later one would take effect.
 *
 * @throws OperatorError when there is no such user or the file can't be changed
 */
export async function removeUser(options: { file: string; name: string }): Promise<void> {
  const { file, name } = options;
  await replaceFile(file, (old) => {
    if (old === undefined) throw new OperatorError(`The htpasswd file ${file} does not exist.`);
    const text = decodeFile(file, old);
    const lines = splitLines(text);
    const kept = lines.filter((line) => !isLineOf(line, name));
    if (kept.length === lines.length) throw new OperatorError(`There is no user ${name} in ${file}.`);
    const bom = text.startsWith('\uFEFF') && kept[0]?.startsWith('\uFEFF') !== true ? '\uFEFF' : '';
    return encodeHtpasswd(bom + kept.join(''));
  });
}

/** Whether a line has the name, if only one that never matches. @throws Error that `describeReadError` puts in words */
export async function hasUserLine(file: string, name: string): Promise<boolean> {
  return splitLines(await readHtpasswdText(file)).some((line) => isLineOf(line, name));
}

/** Node's replacement for bytes that are not UTF-8, in an argument or from a terminal: no client can send it. */
const notUtf8 = /\ufffd|\p{Cs}/u;

const nameRules: readonly (readonly [(name: string) => boolean, string])[] = [
  [(name) => name === '', 'is empty'],
  [(name) => notUtf8.test(name), 'is not encoded in UTF-8'],
  [(name) => name.includes(':'), 'holds a colon'],
  [(name) => /\p{Cc}/u.test(name), 'holds a control character'],
  [(name) => name.startsWith('#'), 'starts with #, like a comment'],
  [(name) => /^\s|\s$/u.test(name), 'starts or ends with a space'],
  [(name) => Buffer.byteLength(name) > maxNameBytes, `is longer than ${maxNameBytes} bytes`],
];

/** @throws OperatorError when the name could not be written to an htpasswd file so that it is read back the same */
export function checkUserName(name: string): void {
  const wrong = nameRules.find(([isWrong]) => isWrong(name))?.[1];
  if (wrong !== undefined) throw new OperatorError(`The user name ${wrong}: choose another.`);
}

function hashIn(line = ''): string {
  return parseHtpasswdLine(line.slice(0, line.length - ending(line).length))?.hash ?? '';
}

/** @throws OperatorError when the password is empty, longer than 72 bytes, or can't be sent in a header (RFC 7617) */
export function checkNewPassword(password: string): void {
  if (password === '') throw new OperatorError('The password is empty: choose another.');
  if (password.startsWith(tokenPrefix))
    throw new OperatorError(`The password starts with ${tokenPrefix}, as machine tokens do: choose another.`);
  if (Buffer.byteLength(password) > maxBcryptPasswordBytes) {
    throw new OperatorError(
      `The password is longer than ${maxBcryptPasswordBytes} bytes, which is all that bcrypt reads: choose another.`,
    );
  }
  if (notUtf8.test(password)) {
    throw new OperatorError(
      'The password is not encoded in UTF-8: choose another, or set the terminal to UTF-8.',
    );
  }
  if (/\p{Cc}/u.test(password)) {
    throw new OperatorError('The password holds a control character: choose another.');
  }
}

function decodeFile(file: string, bytes: Buffer | undefined): string {
  try {
    return bytes === undefined ? '' : decodeHtpasswd(bytes);
  } catch (error) {
    throw new OperatorError(
      `${file} cannot be edited: ${error instanceof Error ? error.message : String(error)}.`,
    );
  }
}

/** The lines with their endings, so that joining them gives the text again. */
function splitLines(text: string): string[] {
  return text.split(/(?<=\n|\r(?!\n))/).filter((line) => line !== '');
}

function ending(line: string): string {
  return /(?:\r\n|\n|\r)$/.exec(line)?.[0] ?? '';
}

function isLineOf(line: string, name: string): boolean {
  const parsed = parseHtpasswdLine(line.slice(0, line.length - ending(line).length));
  return parsed?.hash !== undefined && parsed.name === name;
}
