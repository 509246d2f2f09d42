import type { X509Certificate } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { isIP } from 'node:net';
import { loadPem, parseCertificates } from '../tls/pem.ts';
import { createCertificates } from '../tls/issue/self-signed.ts';
import { parseAltNames } from '../tls/server-name.ts';

const renewBeforeMs = 30 * 86_400_000;

export type CertificateOptions = {
  readonly certPath: string;
  readonly keyPath: string;
  /** DNS names and IP literals that it has to be valid for. */
  readonly names: readonly string[];
  readonly now: Date;
};

/** `caPath` is null when the certificate is the operator's own; `outcome` is for people. */
export type EnsuredCertificate = { readonly caPath: string | null; readonly outcome: string };

/**
 * Creates a CA and a server certificate if there is none, and renews the latter under the same CA when it lacks a name
 * or expires within 30 days. A certificate that this CA did not issue is kept.
 */
export async function ensureServerCertificate(options: CertificateOptions): Promise<EnsuredCertificate> {
  const { certPath, keyPath, names, now } = options;
  const outDir = dirname(certPath);
  const caPath = join(outDir, 'ca.crt');
  const isOurPlace = basename(certPath) === 'server.crt' && keyPath === join(outDir, 'server.key');
  const leaf = await loadCertificate(certPath);
  if (leaf === undefined) {
    if (!isOurPlace) return { caPath: null, outcome: `${certPath} is the operator's own` };
    const made = await createCertificates({ outDir, hosts: names, ips: [], now });
    return { caPath, outcome: `made for ${made.names.join(', ')}` };
  }

  const missing = names.filter((name) => !covers(leaf, name));
  const ca = await loadCertificate(caPath);
  if (!isOurPlace || ca === undefined || !leaf.checkIssued(ca) || !leaf.verify(ca.publicKey)) {
    const gap = missing.length > 0 ? `, not valid for ${missing.join(', ')}` : '';
    return { caPath: null, outcome: `${certPath} is the operator's own${gap}` };
  }
  const endsSoon = new Date(leaf.validTo).getTime() - now.getTime() < renewBeforeMs;
  if (missing.length === 0 && !endsSoon) return { caPath, outcome: 'kept' };
  const present = parseAltNames(leaf.subjectAltName).map(({ value }) => value);
  const made = await createCertificates({ outDir, hosts: [...present, ...missing], ips: [], now });
  return { caPath, outcome: `renewed under the same CA for ${made.names.join(', ')}` };
}

function covers(leaf: X509Certificate, name: string): boolean {
  return (isIP(name) === 0 ? leaf.checkHost(name) : leaf.checkIP(name)) !== undefined;
}

/** Undefined when the file is missing or cannot be parsed: those who need it report the fault. */
async function loadCertificate(path: string): Promise<X509Certificate | undefined> {
  try {
    return parseCertificates(await loadPem(path, ''), path)[0];
  } catch {
    return undefined;
  }
}
