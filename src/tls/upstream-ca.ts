import { loadPem, parseCertificates } from './pem.ts';

/**
 * Loads the certificates that an https upstream is verified with. Checked here, because Node takes an empty text for none given, and
 * would trust every public CA. @throws OperatorError
 */
export async function loadUpstreamCa(path: string): Promise<string> {
  const pem = await loadPem(
    path,
    "set upstream.ca to the PEM file of the CA that signed upstream's certificate",
  );
  parseCertificates(pem, path);
  return pem;
}
