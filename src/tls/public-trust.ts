import { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import { readPemBlocks } from './pem-blocks.ts';

/**
 * Whether clients that have only the public CAs trust a server's certificate: they know the CA that its chain leads to.
 * @param chainPem the certificate first, as {@link CertificateList.chainPem}
 * @param roots the public CAs; left out: those that Node brings
 */
export function isPubliclyTrusted(chainPem: string, roots: readonly string[] = rootCertificates): boolean {
  const [leaf, ...chain] = readPemBlocks(chainPem).blocks.map(({ der }) => new X509Certificate(der));
  const authorities = roots.map((pem) => new X509Certificate(pem));
  const rest = new Set(chain);
  for (let last = leaf; last !== undefined;) {
    const signed = last;
    const isSigner = (other: X509Certificate) => signed.checkIssued(other) && signed.verify(other.publicKey);
    if (authorities.some(isSigner)) return true;
    last = [...rest].find(isSigner);
    if (last !== undefined) rest.delete(last);
  }
  return false;
}
