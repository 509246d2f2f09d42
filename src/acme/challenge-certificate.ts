import { createHash, generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { der, tags } from '../tls/issue/der.ts';
import { createSelfSigned } from '../tls/issue/signed-structure.ts';

/** RFC 8737 section 6.1: id-pe-acmeIdentifier. */
const acmeIdentifier = '1.3.6.1.5.5.7.1.31';
const dayMs = 86_400_000;

/** The certificate that answers a tls-alpn-01 challenge (RFC 8737 section 3), with a key of its own. PEM. */
export async function createChallengeCertificate(
  host: string,
  keyAuthorization: string,
  now: Date,
): Promise<{ readonly cert: string; readonly key: string }> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  const digest = createHash('sha256').update(keyAuthorization).digest();
  const cert = createSelfSigned({
    key: privateKey,
    commonName: 'Tidegate, for the check of an ACME server',
    names: [host],
    extensions: [{ id: acmeIdentifier, isCritical: true, value: der(tags.octetString, digest) }],
    notBefore: new Date(now.getTime() - dayMs),
    notAfter: new Date(now.getTime() + 7 * dayMs),
  });
  return { cert, key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })) };
}
