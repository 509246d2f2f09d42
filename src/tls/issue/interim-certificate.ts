import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { createSelfSigned } from './signed-structure.ts';

const hourMs = 3_600_000;
/** Nobody trusts it, so that nobody is helped by an early end. */
const lifetimeMs = 10 * 365 * 24 * hourMs;

/** What answers until the CA has issued the first certificate: self-signed, and never written to a file. PEM. */
export type InterimCertificate = { readonly cert: string; readonly key: string; readonly notAfter: Date };

export async function createInterimCertificate(
  names: readonly string[],
  now: Date,
): Promise<InterimCertificate> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  const notAfter = new Date(now.getTime() + lifetimeMs);
  return {
    cert: createSelfSigned({
      key: privateKey,
      commonName: 'Tidegate, until the CA has issued a certificate',
      names,
      notBefore: new Date(now.getTime() - hourMs),
      notAfter,
    }),
    key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    notAfter,
  };
}
