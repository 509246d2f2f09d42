import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { loadAuthorities } from '../../../tls/authorities.ts';
import { readCertificateList } from '../../../tls/certificate-list.ts';
import { loadPemIfAny } from '../../../tls/pem.ts';

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
    const { pem } = await loadAuthorities(named, { whenMissing: 'name the PEM file of the CA with --ca' });
    return { ca: [pem], shown: named };
  }
  const system = await loadSystemBundle();
  const beside = besidePath === null ? null : await loadBeside(besidePath);
  return beside === null || besidePath === null
    ? { ca: system, shown: "the system's CAs" }
    : { ca: [beside, ...system], shown: `${besidePath} or the system's CAs` };
}

/** Null where there is none that can be used: it was not asked for. */
async function loadBeside(path: string): Promise<string | null> {
  try {
    const text = await loadPemIfAny(path);
    return text === null ? null : readCertificateList(text, path).anchorPem;
  } catch {
    return null;
  }
}

async function loadSystemBundle(): Promise<readonly string[]> {
  for (const path of systemBundles) {
    const text = await readFile(path, 'latin1').catch(() => '');
    try {
      return [readCertificateList(text, path).anchorPem];
    } catch {
      // not there, or none: the next
    }
  }
  return rootCertificates;
}
