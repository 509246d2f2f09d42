import { join } from 'node:path';

/** The file with a certificate that Tidegate orders, in the folder of `tls.acme`: its key, then the chain. */
export function managedCertificatePath(folder: string): string {
  return join(folder, 'certificate.pem');
}
