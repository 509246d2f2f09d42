import { X509Certificate } from 'node:crypto';
import { lstat, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { OperatorError } from '../operator-error.ts';
import {
  createAuthority,
  createRsaKey,
  isRsaKey,
  issueLeaf,
  type CertificateAuthority,
} from './certificate-authority.ts';
import { writeFileSet, type PendingFile } from './file-set.ts';
import { loadPemIfAny, parseCertificates, parsePrivateKey } from './pem.ts';
import { parseAltNames, parseServerIp, parseServerName, type ServerName } from './server-name.ts';

/** What Apple's clients accept at most for a server certificate of a private CA. */
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
 * Makes ca.crt, ca.key, server.crt (leaf first, then CA) and server.key in a folder, or renews the leaf under the CA
 * that is there, keeping the server's key.
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
  const presentCa = await loadAuthority(paths, now);
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
  const leafPem = issue(authority, keyPem, names, days, now, paths);

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
  await write(outDir, files);

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

async function loadAuthority(paths: Paths, now: Date): Promise<CertificateAuthority | null> {
  for (const path of [paths.ca, paths.caKey]) await refuseLink(path, 'choose another folder with --out');
  const certPem = await loadPemIfAny(paths.ca);
  const keyPem = await loadPemIfAny(paths.caKey);
  if (certPem === null && keyPem === null) return null;
  if (certPem === null || keyPem === null) {
    const [there, missing] = certPem === null ? [paths.caKey, paths.ca] : [paths.ca, paths.caKey];
    throw new OperatorError(
      `${there} is there without ${missing}, and a CA is never overwritten: bring ${missing} back, or choose another folder with --out.`,
    );
  }
  const [certificate] = parseCertificates(certPem, paths.ca);
  const key = parsePrivateKey(keyPem, paths.caKey);
  if (!certificate.checkPrivateKey(key)) {
    throw new OperatorError(
      `${paths.caKey} is not the key of ${paths.ca}, and a CA is never overwritten: bring the right one back, or choose another folder with --out.`,
    );
  }
  if (!certificate.ca || !isRsaKey(key)) {
    throw new OperatorError(
      `${paths.ca} is not a CA certificate with an RSA key of 2048 bits or more, so nothing can be issued under it; choose another folder with --out.`,
    );
  }
  if (!(new Date(certificate.validTo) > now)) {
    throw new OperatorError(
      `The CA ${paths.ca} has expired on ${certificate.validTo}, and a CA is never overwritten: make a new one with --out and another folder, and let the clients trust it (tidegate cert trust).`,
    );
  }
  if (!(new Date(certificate.validFrom) <= now)) {
    throw new OperatorError(
      `The CA ${paths.ca} is valid only from ${certificate.validFrom}: set this machine's clock right.`,
    );
  }
  return { certPem: certificate.toString(), keyPem };
}

/** The leaf that is there, if this CA issued it; with `force` one of another origin counts as none. */
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
  for (const path of [paths.cert, paths.key]) await refuseLink(path, remedy);
  const certPem = await loadPemIfAny(paths.cert);
  const keyPem = await loadPemIfAny(paths.key);
  if (certPem === null) {
    if (keyPem === null) return null;
    throw new OperatorError(
      `${paths.key} is there without ${paths.cert}, so it is not known whose it is: ${remedy}.`,
    );
  }
  const [leaf] = parseCertificates(certPem, paths.cert);
  const issuer = ca === null ? null : new X509Certificate(ca.certPem);
  if (issuer === null || !leaf.checkIssued(issuer) || !leaf.verify(issuer.publicKey)) {
    throw new OperatorError(`${paths.cert} was not issued by the CA ${paths.ca}: ${remedy}.`);
  }
  if (keyPem !== null) {
    const key = parsePrivateKey(keyPem, paths.key);
    if (!leaf.checkPrivateKey(key)) {
      throw new OperatorError(`${paths.key} is not the key of ${paths.cert}: ${remedy}.`);
    }
    if (!isRsaKey(key)) {
      throw new OperatorError(`${paths.key} is not an RSA key of 2048 bits or more: ${remedy}.`);
    }
  }
  return { names: parseAltNames(leaf.subjectAltName), keyPem };
}

/** What a link points to belongs to someone else (/etc/letsencrypt/live, a secret's mount). */
async function refuseLink(path: string, remedy: string): Promise<void> {
  const stats = await lstat(path).catch(() => null);
  if (stats !== null && !stats.isFile()) {
    const kind = stats.isSymbolicLink() ? 'a symbolic link' : 'not a regular file';
    throw new OperatorError(`${path} is ${kind}, so it was not made by "tidegate cert create": ${remedy}.`);
  }
}

function issue(
  authority: CertificateAuthority,
  keyPem: string,
  names: readonly ServerName[],
  days: number,
  now: Date,
  paths: Paths,
): string {
  try {
    return issueLeaf(authority, keyPem, names, days, now);
  } catch (cause) {
    throw new OperatorError(
      `No certificate can be issued under ${paths.ca} (${(cause as Error).message}); choose another folder with --out.`,
      { cause },
    );
  }
}

async function write(outDir: string, files: readonly PendingFile[]): Promise<void> {
  try {
    await mkdir(outDir, { recursive: true, mode: 0o755 });
    await writeFileSet(outDir, files);
  } catch (cause) {
    const { code = 'unknown error', dest } = cause as NodeJS.ErrnoException & { dest?: string };
    throw code === 'EEXIST' && dest !== undefined
      ? new OperatorError(
          `${dest} was made by another process just now and is left alone: run the command again.`,
          {
            cause,
          },
        )
      : new OperatorError(
          `The certificates can't be written to ${outDir} (${code}); check its owner and mode.`,
          {
            cause,
          },
        );
  }
}

function uniqueNames(names: readonly ServerName[]): ServerName[] {
  return [...new Map(names.map((name) => [`${name.kind}:${name.value}`, name])).values()];
}
