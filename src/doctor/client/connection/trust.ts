import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { loadAuthorities } from '../../../tls/authorities.ts';
import { readCertificateList } from '../../../tls/certificate-list.ts';
import { loadPemIfAny } from '../../../tls/pem.ts';

/** The CAs to verify a server's certificate with. */
export type Trust = {
  readonly ca: readonly string[];
  /** Their origin, as part of a sentence. */
  readonly shown: string;
};

/** The files of system CAs on Debian and relatives, RHEL and relatives, and Alpine. */
const systemBundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
];

/**
 * Loads the CAs of the named file only; without one, those of the system and of the file beside the configured
 * certificate. @throws OperatorError when the named file holds none.
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

/** Null if it is not usable: it was not requested explicitly. */
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
      // missing or without CAs: try the next
    }
  }
  return rootCertificates;
}
