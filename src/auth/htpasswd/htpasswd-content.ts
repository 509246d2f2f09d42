import { describeReadError } from '../../system/files/file-status.ts';
import { readFileContent } from '../../system/files/followed-file.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { decodeHtpasswd, maxHtpasswdBytes } from './htpasswd-text.ts';

/** @throws Error that `describeReadError` puts in words: unreadable, not a regular file, or not an htpasswd text */
export async function readHtpasswdText(path: string): Promise<string> {
  return decodeHtpasswd((await readFileContent(path, maxHtpasswdBytes)).bytes);
}

/** The error for the operator when an htpasswd file is needed and can't be read. */
export function explainReadError(path: string, error: unknown): OperatorError {
  const reason = describeReadError(error);
  return new OperatorError(
    reason === 'it does not exist'
      ? `The htpasswd file ${path} does not exist: create it with \`tidegate user add NAME --file ${path}\`.`
      : `The htpasswd file ${path} cannot be used: ${reason}.`,
  );
}
