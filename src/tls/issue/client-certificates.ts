import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import { isIssuedBy, issueUnder, loadAuthority, refuseLink, writeCertificates } from './authority-files.ts';
import {
  createAuthority,
  createRsaKey,
  isRsaKey,
  issueClientLeaf,
  type CertificateAuthority,
} from './certificate-authority.ts';
import type { PendingFile } from '../../system/files/file-set.ts';
import { loadPemIfAny, parseCertificates } from '../pem.ts';
import { readPrivateKey } from '../private-key.ts';

/**
 * Short, since a client certificate is on machines that are less protected than a server, and renewing it is one
 * command.
 */
export const defaultClientDays = 365;

/** Names of other files that `cert` makes in the same folder. */
const taken: readonly string[] = ['ca', 'server', 'client-ca'];

type ClientCertificateRequest = {
  outDir: string;
  /** Made by {@link parseClientName}; one certificate each. */
  names: readonly string[];
  /** Of the certificates' whole lifetime. */
  days?: number;
  now: Date;
};

export type CreatedClient = {
  name: string;
  certPath: string;
  keyPath: string;
  /** Whether a certificate of that name existed, whose key was kept. */
  keptKey: boolean;
  notAfter: Date;
};

export type CreatedClientCertificates = {
  /** For tls.clientCa. */
  caPath: string;
  madeCa: boolean;
  caNotAfter: Date;
  clients: CreatedClient[];
};

/**
 * Parses the name of a client: of a person or machine, and of its two files.
 * @throws OperatorError when it can't be both, or belongs to another file of the folder.
 */
export function parseClientName(text: string): string {
  // RFC 5280 appendix A: a common name has at most 64 characters. The first one hides no file and looks like no option.
  if (!/^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/.test(text)) {
    throw new OperatorError(
      `"${text}" can't name a client: take 1 to 64 letters, digits, dots, @, - and _, the first a letter or digit, as in alice or ci-runner-7.`,
    );
  }
  if (taken.includes(text.toLowerCase())) {
    throw new OperatorError(
      `"${text}" can't name a client: ${text}.crt is a file of another kind; take another name.`,
    );
  }
  return text;
}

/**
 * Makes NAME.crt and NAME.key in a folder, for each name, under the CA client-ca.crt and client-ca.key, which is made
 * if needed. Renews those that this CA made, and keeps an existing key.
 *
 * This CA is separate from the server's, which may belong to somebody else. Replacing it revokes all client
 * certificates, while clients need to trust nothing new.
 * @throws OperatorError rather than overwrite anything that it did not make.
 */
export async function createClientCertificates(
  request: ClientCertificateRequest,
): Promise<CreatedClientCertificates> {
  const { outDir, names, days = defaultClientDays, now } = request;
  const caPath = join(outDir, 'client-ca.crt');
  const caKeyPath = join(outDir, 'client-ca.key');
  const place = {
    cert: caPath,
    key: caKeyPath,
    whenExpired: `move ${caPath} and ${caKeyPath} away, run the command again, and give every client a new certificate`,
  };
  const present = await loadAuthority(place, now);
  const authority = present ?? (await createAuthority(now, 'clients'));
  const files: PendingFile[] = [];
  if (present === null) {
    files.push(
      { path: caKeyPath, content: authority.keyPem, mode: 0o600, replace: false },
      { path: caPath, content: authority.certPem, mode: 0o644, replace: false },
    );
  }
  const clients: CreatedClient[] = [];
  for (const name of new Set(names)) {
    const certPath = join(outDir, `${name}.crt`);
    const keyPath = join(outDir, `${name}.key`);
    const earlier = await loadEarlier({ certPath, keyPath }, present);
    const keyPem = earlier?.keyPem ?? (await createRsaKey(2048));
    const certPem = issueUnder(caPath, () => issueClientLeaf(authority, keyPem, name, days, now));
    const keptKey = earlier !== null && earlier.keyPem !== null;
    if (!keptKey) files.push({ path: keyPath, content: keyPem, mode: 0o600, replace: false });
    files.push({ path: certPath, content: certPem, mode: 0o644, replace: earlier !== null });
    clients.push({ name, certPath, keyPath, keptKey, notAfter: endOf(certPem) });
  }
  await writeCertificates(outDir, files);
  return { caPath, madeCa: present === null, caNotAfter: endOf(authority.certPem), clients };
}

/**
 * Reads the existing certificate of this client; its key may be missing, since it belongs on the client's machine. Null
 * for none.
 */
async function loadEarlier(
  { certPath, keyPath }: { certPath: string; keyPath: string },
  ca: CertificateAuthority | null,
): Promise<{ keyPem: string | null } | null> {
  const remedy = 'take another name, or choose another folder with --out';
  for (const path of [certPath, keyPath]) await refuseLink(path, 'tidegate cert client', remedy);
  const certPem = await loadPemIfAny(certPath);
  const keyPem = await loadPemIfAny(keyPath);
  if (certPem === null && keyPem === null) return null;
  if (certPem === null) {
    throw new OperatorError(
      `${keyPath} is there without ${certPath}, so it is not known whose it is: ${remedy}.`,
    );
  }
  const [leaf] = parseCertificates(certPem, certPath);
  if (ca === null || !isIssuedBy(leaf, ca)) {
    throw new OperatorError(
      `${certPath} was not issued by the CA of client certificates in this folder: move it and its key away, or ${remedy}.`,
    );
  }
  if (keyPem === null) return { keyPem };
  const { key, pem } = readPrivateKey(keyPem, keyPath);
  if (!leaf.checkPrivateKey(key) || !isRsaKey(key)) {
    throw new OperatorError(`${keyPath} is not the RSA key of ${certPath}: move both away, or ${remedy}.`);
  }
  return { keyPem: pem };
}

function endOf(certPem: string): Date {
  return new Date(new X509Certificate(certPem).validTo);
}
