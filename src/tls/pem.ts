import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { OperatorError } from '../operator-error.ts';
import { readRegularFile } from '../regular-file.ts';

/** Parses the certificates of a PEM file (RFC 7468) in their order; `path` is for the error only. @throws OperatorError */
export function parseCertificates(pem: string, path: string): [X509Certificate, ...X509Certificate[]] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  const [first, ...rest] = blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw new OperatorError(
        `${path}: certificate ${index + 1} of ${blocks.length} is damaged; put the file there again from its source.`,
        { cause },
      );
    }
  });
  if (first === undefined) {
    throw new OperatorError(
      `${path} holds no certificate in PEM form (no BEGIN CERTIFICATE line); convert a DER file with: openssl x509 -in FILE -out ${path}`,
    );
  }
  return [first, ...rest];
}

/**
 * Parses a private key in PEM form: PKCS#8, PKCS#1 (RSA) or SEC1 (EC); `path` is for the error only.
 * @throws OperatorError when it is none, or is encrypted with a password.
 */
export function parsePrivateKey(pem: string, path: string): KeyObject {
  // PKCS#8 says so in its label, the older forms in a header (RFC 1421 section 4.6.1.1).
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: *4, *ENCRYPTED/m.test(pem)) {
    throw new OperatorError(
      `${path} is encrypted with a password, which nobody can type when the server starts; strip it with: (umask 077; openssl pkey -in ${path} -out ${path}.plain) and use that file.`,
    );
  }
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) {
    throw new OperatorError(
      `${path} holds no private key in PEM form (no BEGIN PRIVATE KEY line); convert a DER file with: openssl pkey -in FILE -out ${path}`,
    );
  }
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new OperatorError(
      `${path}: the private key is damaged or of an unknown kind; put the file there again from its source.`,
      { cause },
    );
  }
}

/** Reads a text file. @throws OperatorError that names the file, the reason and `whenMissing`, what to do if it is not there. */
export async function loadPem(path: string, whenMissing: string): Promise<string> {
  try {
    return await readRegularFile(path);
  } catch (cause) {
    throw isMissing(cause)
      ? new OperatorError(`${path} does not exist: ${whenMissing}.`, { cause })
      : new OperatorError(`${path} can't be read (${codeOf(cause)}); check its owner and mode.`, { cause });
  }
}

/** As loadPem, but null when there is no such file. @throws OperatorError */
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
