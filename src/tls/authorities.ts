import { readCertificateList } from './certificate-list.ts';
import { loadPem } from './pem.ts';

/** CAs to verify peers with, as PEM that holds only what was parsed. */
export type Authorities = { readonly pem: string; readonly warnings: readonly string[] };

/**
 * Loads the CAs of a PEM file. Node treats an empty text, or one that OpenSSL can't read, as if none was given: then it
 * would trust every public CA, or nobody.
 * @param whenMissing what to do when the file is missing or holds none, as the end of a sentence
 * @throws OperatorError
 */
export async function loadAuthorities(
  path: string,
  { whenMissing }: { readonly whenMissing: string },
): Promise<Authorities> {
  const text = await loadPem(path, whenMissing);
  const { anchorPem, warnings } = readCertificateList(text, path, { whenNone: whenMissing });
  return { pem: anchorPem, warnings };
}
