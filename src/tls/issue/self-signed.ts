import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import { isIssuedBy, issueUnder, loadAuthority, refuseLink, writeCertificates } from './authority-files.ts';
import {
  createAuthority,
  createRsaKey,
  isRsaKey,
  issueLeaf,
  type CertificateAuthority,
} from './certificate-authority.ts';
import type { PendingFile } from '../../system/files/file-set.ts';
import { loadPemIfAny, parseCertificates } from '../pem.ts';
import { readPrivateKey } from '../private-key.ts';
import { parseAltNames, parseServerIp, parseServerName, type ServerName } from '../server-name.ts';

/** The longest lifetime that Apple's clients accept for a server certificate of a private CA. */
export const defaultLeafDays = 825;

type CertificateRequest = {
  outDir: string;
  /** DNS names, wildcards or IP literals; with `ips` both empty, the names of the present leaf. */
  hosts: readonly string[];
  ips: readonly string[];
  days?: number;
  /** Replaces server.crt and server.key whoever made them; never the CA. */
  force?: boolean;
  now: Date;
};

export type CreatedCertificates = {
  created: 'ca-and-leaf' | 'leaf' | 'renewed-leaf';
  caPath: string;
  certPath: string;
  keyPath: string;
  keptKey: boolean;
  names: string[];
  notAfter: Date;
  caNotAfter: Date;
};

type Paths = { ca: string; caKey: string; cert: string; key: string };
type PresentLeaf = { names: ServerName[]; keyPem: string | null };

/**
 * Makes ca.crt, ca.key, server.crt (leaf first, then CA) and server.key in a folder, or renews the leaf under the
 * existing CA and keeps the server's key.
 * @throws OperatorError rather than overwrite anything that it did not make.
 */
export async function createCertificates(request: CertificateRequest): Promise<CreatedCertificates> {
  const { outDir, now, days = defaultLeafDays, force = false } = request;
  const paths: Paths = {
    ca: join(outDir, 'ca.crt'),
    caKey: join(outDir, 'ca.key'),
    cert: join(outDir, 'server.crt'),
    key: join(outDir, 'server.key'),
  };
  const wanted = uniqueNames([...request.hosts.map(parseServerName), ...request.ips.map(parseServerIp)]);
  const presentCa = await loadAuthority(
    {
      cert: paths.ca,
      key: paths.caKey,
      whenExpired:
        'make a new one with --out and another folder, and let the clients trust it (tidegate cert trust)',
    },
    now,
  );
  const presentLeaf = await loadPresentLeaf(paths, presentCa, force);
  const names = wanted.length > 0 ? wanted : (presentLeaf?.names ?? []);
  if (names.length === 0) {
    throw new OperatorError(
      `There is no certificate of this CA in ${outDir} whose names could be taken over: name the hosts with --host.`,
    );
  }

  const authority = presentCa ?? (await createAuthority(now));
  const keptKeyPem = force ? null : (presentLeaf?.keyPem ?? null);
  const keyPem = keptKeyPem ?? (await createRsaKey(2048));
  const leafPem = issueUnder(paths.ca, () => issueLeaf(authority, keyPem, names, days, now));

  // server.crt comes last: with the key kept it is the only change, and it is atomic.
  const files: PendingFile[] = [];
  if (presentCa === null) {
    files.push(
      { path: paths.caKey, content: authority.keyPem, mode: 0o600, replace: false },
      { path: paths.ca, content: authority.certPem, mode: 0o644, replace: false },
    );
  }
  if (keptKeyPem === null) files.push({ path: paths.key, content: keyPem, mode: 0o600, replace: force });
  const replaceCert = force || presentLeaf !== null;
  files.push({ path: paths.cert, content: leafPem + authority.certPem, mode: 0o644, replace: replaceCert });
  await writeCertificates(outDir, files);

  return {
    created: presentCa === null ? 'ca-and-leaf' : presentLeaf === null ? 'leaf' : 'renewed-leaf',
    caPath: paths.ca,
    certPath: paths.cert,
    keyPath: paths.key,
    keptKey: keptKeyPem !== null,
    names: names.map(({ value }) => value),
    notAfter: new Date(new X509Certificate(leafPem).validTo),
    caNotAfter: new Date(new X509Certificate(authority.certPem).validTo),
  };
}

/** The existing leaf if this CA issued it; with `force` a leaf of another origin is ignored. */
async function loadPresentLeaf(
  paths: Paths,
  ca: CertificateAuthority | null,
  force: boolean,
): Promise<PresentLeaf | null> {
  try {
    return await loadOwnLeaf(paths, ca);
  } catch (error) {
    if (force && error instanceof OperatorError) return null;
    throw error;
  }
}

async function loadOwnLeaf(paths: Paths, ca: CertificateAuthority | null): Promise<PresentLeaf | null> {
  const remedy = 'replace server.crt and server.key with --force, or choose another folder with --out';
  for (const path of [paths.cert, paths.key]) await refuseLink(path, 'tidegate cert create', remedy);
  const certPem = await loadPemIfAny(paths.cert);
  const keyPem = await loadPemIfAny(paths.key);
  if (certPem === null) {
    if (keyPem === null) return null;
    throw new OperatorError(
      `${paths.key} is there without ${paths.cert}, so it is not known whose it is: ${remedy}.`,
    );
  }
  const [leaf] = parseCertificates(certPem, paths.cert);
  if (ca === null || !isIssuedBy(leaf, ca)) {
    throw new OperatorError(`${paths.cert} was not issued by the CA ${paths.ca}: ${remedy}.`);
  }
  const names = parseAltNames(leaf.subjectAltName);
  if (keyPem === null) return { names, keyPem };
  const { key, pem } = readPrivateKey(keyPem, paths.key);
  if (!leaf.checkPrivateKey(key)) {
    throw new OperatorError(`${paths.key} is not the key of ${paths.cert}: ${remedy}.`);
  }
  if (!isRsaKey(key)) {
    throw new OperatorError(`${paths.key} is not an RSA key of 2048 bits or more: ${remedy}.`);
  }
  return { names, keyPem: pem };
}

function uniqueNames(names: readonly ServerName[]): ServerName[] {
  return [...new Map(names.map((name) => [`${name.kind}:${name.value}`, name])).values()];
}
