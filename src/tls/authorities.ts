import { readCertificateList } from './certificate-list.ts';
import { loadPem } from './pem.ts';

/** CAs to verify others with, as PEM of nothing but what was parsed. */
export type Authorities = { readonly pem: string; readonly warnings: readonly string[] };

/**
 * Loads the CAs of a PEM file. Node takes an empty text, and one that OpenSSL reads nothing of, for none given: then it would trust
 * every public CA, or nobody.
 * @param whenMissing what to do when the file is not there or holds none, as the end of a sentence
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
