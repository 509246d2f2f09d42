import { X509Certificate } from 'node:crypto';
import { lstat, mkdir } from 'node:fs/promises';
import { OperatorError } from '../../system/operator-error.ts';
import { isRsaKey, type CertificateAuthority } from './certificate-authority.ts';
import { writeFileSet, type PendingFile } from '../../system/files/file-set.ts';
import { loadPemIfAny, parseCertificates } from '../pem.ts';
import { readPrivateKey } from '../private-key.ts';

/** The paths of a CA's certificate and key, and what to do once it has expired. */
export type AuthorityPlace = { cert: string; key: string; whenExpired: string };

/**
 * Loads the CA of a folder, null when neither of its files is there.
 * @throws OperatorError when nothing can be issued under it.
 */
export async function loadAuthority(paths: AuthorityPlace, now: Date): Promise<CertificateAuthority | null> {
  for (const path of [paths.cert, paths.key]) {
    await refuseLink(path, 'tidegate cert', 'choose another folder with --out');
  }
  const certPem = await loadPemIfAny(paths.cert);
  const keyPem = await loadPemIfAny(paths.key);
  if (certPem === null && keyPem === null) return null;
  if (certPem === null || keyPem === null) {
    const [there, missing] = certPem === null ? [paths.key, paths.cert] : [paths.cert, paths.key];
    throw new OperatorError(
      `${there} is there without ${missing}, and a CA is never overwritten: bring ${missing} back, or choose another folder with --out.`,
    );
  }
  const [certificate] = parseCertificates(certPem, paths.cert);
  const { key, pem } = readPrivateKey(keyPem, paths.key);
  if (!certificate.checkPrivateKey(key)) {
    throw new OperatorError(
      `${paths.key} is not the key of ${paths.cert}, and a CA is never overwritten: bring the right one back, or choose another folder with --out.`,
    );
  }
  if (!certificate.ca || !isRsaKey(key)) {
    throw new OperatorError(
      `${paths.cert} is not a CA certificate with an RSA key of 2048 bits or more, so nothing can be issued under it; choose another folder with --out.`,
    );
  }
  if (!(new Date(certificate.validTo) > now)) {
    throw new OperatorError(
      `The CA ${paths.cert} has expired on ${certificate.validTo}, and a CA is never overwritten: ${paths.whenExpired}.`,
    );
  }
  if (!(new Date(certificate.validFrom) <= now)) {
    throw new OperatorError(
      `The CA ${paths.cert} is valid only from ${certificate.validFrom}: set this machine's clock right.`,
    );
  }
  return { certPem: certificate.toString(), keyPem: pem };
}

/** Whether a certificate was issued by this CA, by its name and its signature. */
export function isIssuedBy(leaf: X509Certificate, ca: CertificateAuthority): boolean {
  const issuer = new X509Certificate(ca.certPem);
  return leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey);
}

/**
 * Refuses symbolic links: their targets belong to someone else (/etc/letsencrypt/live, a secret's mount). @throws
 * OperatorError
 */
export async function refuseLink(path: string, maker: string, remedy: string): Promise<void> {
  const stats = await lstat(path).catch(() => null);
  if (stats !== null && !stats.isFile()) {
    const kind = stats.isSymbolicLink() ? 'a symbolic link' : 'not a regular file';
    throw new OperatorError(`${path} is ${kind}, so it was not made by "${maker}": ${remedy}.`);
  }
}

/** Issues a certificate with `issue`. @throws OperatorError that names the CA when it can't. */
export function issueUnder(caPath: string, issue: () => string): string {
  try {
    return issue();
  } catch (cause) {
    throw new OperatorError(
      `No certificate can be issued under ${caPath} (${(cause as Error).message}); choose another folder with --out.`,
      { cause },
    );
  }
}

const mountedAlone = 'a file there is mounted by itself and cannot be replaced: mount its folder instead';
const makeRoom = 'make room there, and run the command again';
const hints: Readonly<Record<string, string>> = {
  ENOSPC: makeRoom,
  EDQUOT: makeRoom,
  EFBIG: makeRoom,
  EBUSY: mountedAlone,
};

/** Writes certificates and keys like writeFileSet, and creates the folder if needed. @throws OperatorError */
export async function writeCertificates(outDir: string, files: readonly PendingFile[]): Promise<void> {
  try {
    await mkdir(outDir, { recursive: true, mode: 0o755 });
    await writeFileSet(outDir, files);
  } catch (cause) {
    const { code = 'unknown error', dest } = cause as NodeJS.ErrnoException & { dest?: string };
    throw code === 'EEXIST' && dest !== undefined
      ? new OperatorError(
          `${dest} was made by another process just now and is left alone: run the command again.`,
          { cause },
        )
      : new OperatorError(
          `The certificates can't be written to ${outDir} (${code}); ${hints[code] ?? 'check its owner and mode'}.`,
          { cause },
        );
  }
}
