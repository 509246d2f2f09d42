import type { X509Certificate } from 'node:crypto';
import { OperatorError } from '../system/operator-error.ts';
import { readRegularFile } from '../system/files/regular-file.ts';
import { readCertificateList } from './certificate-list.ts';

/** Loads the certificates of a PEM file in order; `path` is for the error only. @throws OperatorError */
export function parseCertificates(
  pem: string,
  path: string,
): readonly [X509Certificate, ...X509Certificate[]] {
  return readCertificateList(pem, path).certificates;
}

/**
 * Reads a text file. @throws OperatorError that names the file, the reason, and what to do if it is missing
 * (`whenMissing`).
 */
export async function loadPem(path: string, whenMissing: string): Promise<string> {
  try {
    return await readRegularFile(path);
  } catch (cause) {
    throw isMissing(cause)
      ? new OperatorError(`${path} does not exist: ${whenMissing}.`, { cause })
      : new OperatorError(`${path} can't be read (${codeOf(cause)}); check its owner and mode.`, { cause });
  }
}

/** Like loadPem, but null when there is no such file. @throws OperatorError */
export async function loadPemIfAny(path: string): Promise<string | null> {
  try {
    return await loadPem(path, '');
  } catch (error) {
    if (error instanceof OperatorError && isMissing(error.cause)) return null;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT';
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown error';
}
