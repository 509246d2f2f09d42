import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { loadPem, loadPemIfAny, parseCertificates } from '../tls/pem.ts';

/** The CAs that a server's certificate is verified with. */
export type Trust = {
  readonly ca: readonly string[];
  /** Whose they are, as part of a sentence. */
  readonly shown: string;
};

/** Where Debian and its kin, RHEL and its kin, and Alpine keep the CAs that the system trusts. */
const systemBundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
];

/**
 * The CAs of the file that is named, and of it alone; else those of the system and of the file beside the configured
 * certificate, where there is one. @throws OperatorError when the named file holds none.
 */
export async function loadTrust(named: string | undefined, besidePath: string | null): Promise<Trust> {
  if (named !== undefined) {
    const pem = await loadPem(named, 'name the PEM file of the CA with --ca');
    parseCertificates(pem, named);
    return { ca: [pem], shown: named };
  }
  const system = await loadSystemBundle();
  const beside = besidePath === null ? null : await loadPemIfAny(besidePath).catch(() => null);
  return beside === null || besidePath === null
    ? { ca: system, shown: "the system's CAs" }
    : { ca: [beside, ...system], shown: `${besidePath} or the system's CAs` };
}

async function loadSystemBundle(): Promise<readonly string[]> {
  for (const path of systemBundles) {
    const pem = await readFile(path, 'latin1').catch(() => '');
    if (pem.includes('-----BEGIN CERTIFICATE-----')) return [pem];
  }
  return rootCertificates;
}
