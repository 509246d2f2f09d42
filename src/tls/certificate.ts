import type { KeyObject, X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { OperatorError } from '../system/operator-error.ts';
import { loadAuthorities, type Authorities } from './authorities.ts';
import { readCertificateList } from './certificate-list.ts';
import { loadPem } from './pem.ts';
import { readPrivateKey } from './private-key.ts';
import { parseAltNames } from './server-name.ts';

const dayMs = 86_400_000;
const warnDays = 30;

type CertificateFiles = {
  /** PEM, leaf first, then intermediates. */
  certPath: string;
  keyPath: string;
  now: Date;
  /**
   * Whether Tidegate renews it: then its lifetime is not judged here, and one that this machine's clock calls expired
   * is better than none.
   */
  isManaged?: boolean;
};

export type ServerCertificate = {
  cert: string;
  key: string;
  /** DNS and IP names of the leaf. */
  names: string[];
  notAfter: Date;
  /** What is not used of the files, one sentence each, for the log. */
  leftOut: string[];
  /** Other warnings, likewise. */
  warnings: string[];
};

/**
 * Loads what a TLS listener needs, and checks everything that would otherwise fail at each handshake.
 * @throws OperatorError that names the file and the fix.
 */
export async function loadServerCertificate(files: CertificateFiles): Promise<ServerCertificate> {
  const { certPath, keyPath, now, isManaged = false } = files;
  const whenMissing =
    'run "tidegate cert create --host NAME" to make one, or name your own under tls in the configuration';
  const isOneFile = certPath === keyPath;
  const list = readCertificateList(await loadPem(certPath, whenMissing), certPath, { holdsKey: isOneFile });
  const chain = list.certificates;
  const privateKey = readPrivateKey(await loadPem(keyPath, whenMissing), keyPath, {
    holdsCertificate: isOneFile,
  });
  checkPair(chain, privateKey.key, certPath, keyPath);

  const [leaf] = chain;
  const names = parseAltNames(leaf.subjectAltName).map(({ value }) => value);
  if (names.length === 0) {
    throw new OperatorError(
      `${certPath} names no host in a subjectAltName, and no client accepts such a certificate (RFC 9525): have it issued again with one.`,
    );
  }
  const notAfter = isManaged ? new Date(leaf.validTo) : checkLifetime(leaf, certPath, now);
  const [cert, key] = [list.chainPem, privateKey.pem];
  checkContext(cert, key, certPath);

  const leftOut = [...list.warnings, ...privateKey.warnings];
  const warnings: string[] = [];
  const daysLeft = Math.floor((notAfter.getTime() - now.getTime()) / dayMs);
  if (daysLeft < warnDays && !isManaged) {
    warnings.push(
      `${certPath} expires in ${daysLeft} ${daysLeft === 1 ? 'day' : 'days'}, on ${notAfter.toISOString()}: renew it, with "tidegate cert create" if that made it.`,
    );
  }
  if (((await stat(keyPath)).mode & 0o006) !== 0) {
    warnings.push(`${keyPath} can be read by other users of this machine: chmod 600 ${keyPath}`);
  }
  return { cert, key, names, notAfter, leftOut, warnings };
}

function checkPair(
  chain: readonly [X509Certificate, ...X509Certificate[]],
  key: KeyObject,
  certPath: string,
  keyPath: string,
): void {
  if (chain[0].checkPrivateKey(key)) return;
  const position = chain.findIndex((certificate) => !certificate.ca && certificate.checkPrivateKey(key));
  throw new OperatorError(
    position > 0
      ? `${certPath}: the server's own certificate must be the first, but it is number ${position + 1} of ${chain.length}: reorder the file.`
      : `${keyPath} is not the key of the certificate in ${certPath}: name the two files that belong together.`,
  );
}

function checkLifetime(leaf: X509Certificate, certPath: string, now: Date): Date {
  // Negated, so that a date that can't be read is refused as well.
  const notAfter = new Date(leaf.validTo);
  if (!(notAfter > now)) {
    throw new OperatorError(
      `${certPath} has expired on ${leaf.validTo}: renew it, with "tidegate cert create" if that made it.`,
    );
  }
  if (!(new Date(leaf.validFrom) <= now)) {
    throw new OperatorError(
      `${certPath} is not valid before ${leaf.validFrom}: check this machine's clock, or wait.`,
    );
  }
  return notAfter;
}

/** Loads the CAs of tls.clientCa. @throws OperatorError */
export function loadClientCa(path: string): Promise<Authorities> {
  return loadAuthorities(path, {
    whenMissing: 'name the PEM file of the CA of your client certificates under tls.clientCa',
  });
}

const strongerKey = 'have it issued again with a stronger key (RSA of 2048 bits, or EC of 256)';
const contextRemedies: Readonly<Record<string, string>> = {
  ERR_SSL_EE_KEY_TOO_SMALL: strongerKey,
  ERR_SSL_CA_KEY_TOO_SMALL: "a CA's key in it is too short: have it issued again by a newer CA",
  ERR_SSL_CA_MD_TOO_WEAK: 'have it issued again, signed with SHA-256',
};

/** Lets OpenSSL decide last: it refuses, for example, keys that are too short for its security level. */
function checkContext(cert: string, key: string, certPath: string): void {
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    const { code = '', message } = cause as NodeJS.ErrnoException;
    throw new OperatorError(
      `${certPath} can't be used for TLS (${message}): ${contextRemedies[code] ?? 'have it issued again'}.`,
      { cause },
    );
  }
}
