import { hkdfSync } from 'node:crypto';
import { describeReadError, withOpenFile } from '../../system/files/file-status.ts';
import { OperatorError } from '../../system/operator-error.ts';

/** As many as an HMAC-SHA256 under them has (RFC 7518 section 3.2). */
const minSecretBytes = 32;
const maxSecretBytes = 4096;

/**
 * Reads the files with the secrets of tokens; white space at their ends is not part of them. `warnings` are for the log, one sentence each.
 * @throws OperatorError that names the file and the way out.
 */
export async function loadTokenSecrets(
  paths: readonly string[],
): Promise<{ secrets: readonly string[]; warnings: readonly string[] }> {
  const warnings: string[] = [];
  const secrets: string[] = [];
  for (const path of paths) {
    const { text, mode } = await readSecret(path);
    const secret = text.trim();
    if (secret.length < minSecretBytes || secret.length > maxSecretBytes) {
      throw new OperatorError(
        `${path} holds ${secret.length} bytes, and a secret for tokens has ${minSecretBytes} to ${maxSecretBytes}: make one with (umask 077; openssl rand -base64 48 > ${path})`,
      );
    }
    if ((mode & 0o006) !== 0)
      warnings.push(`${path} can be read by other users of this machine: chmod 600 ${path}`);
    secrets.push(secret);
  }
  return { secrets, warnings };
}

async function readSecret(path: string): Promise<{ text: string; mode: number }> {
  try {
    return await withOpenFile(path, async (file) => {
      const { mode } = await file.stat();
      // One byte more, so that a file that is too large shows; of a device there would be no end.
      const { buffer, bytesRead } = await file.read(Buffer.alloc(maxSecretBytes + 64), 0);
      return { text: buffer.toString('latin1', 0, bytesRead), mode };
    });
  } catch (cause) {
    throw new OperatorError(
      `${path}, which auth.tokenKeys names, can't be used (${describeReadError(cause)}): make it with (umask 077; openssl rand -base64 48 > ${path}), or see to its owner and mode.`,
      { cause },
    );
  }
}

/** The keys derived from one secret, each for one use only (RFC 5869): a token of one kind is invalid as another. */
export type TokenKeySet = {
  /** Names the secret in the tokens that were signed with it, and says nothing of it. */
  readonly id: string;
  readonly access: Uint8Array;
  readonly refresh: Uint8Array;
  /** For the HMAC that ties a token to a line of the htpasswd file. */
  readonly line: Uint8Array;
};

export function deriveTokenKeys(secret: string | Buffer): TokenKeySet {
  const derive = (use: string, bytes: number) =>
    Buffer.from(hkdfSync('sha256', secret, '', `tidegate ${use}`, bytes));
  return {
    id: derive('token key id', 9).toString('base64url'),
    access: derive('access token', 32),
    refresh: derive('refresh token', 32),
    line: derive('htpasswd line', 32),
  };
}
