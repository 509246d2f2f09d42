import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { rootCertificates } from 'node:tls';

/** The CA of the served certificate, for clients to trust. */
export type Authority = {
  readonly pem: string;
  /** SHA-256, in pairs of hexadecimal digits with colons between. */
  readonly fingerprint: string;
  readonly expiresMs: number;
};

const pemForm = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const maxCertificates = 10;

/** The CA that clients have to be given; null: they know it already, or it is not on this machine. */
export type ReadAuthority = () => Promise<Authority | null>;

/**
 * Finds the last certificate of the served chain if it signed itself, or `ca.crt` beside the certificate if it has signed the chain. The
 * file is read each time, but looked into only when it has changed: to compare a CA with all that are public takes a tenth of a second,
 * and anybody may ask.
 *
 * @param path the file of the certificate; null: there is none
 */
export function createAuthorityReader(chain: string, path: string | null): ReadAuthority {
  let known: { readonly beside: string; readonly authority: Authority | null } | null = null;
  return async () => {
    const beside = path === null ? '' : await readFile(join(dirname(path), 'ca.crt'), 'utf8').catch(() => '');
    if (known?.beside !== beside) known = { beside, authority: findAuthority(chain, beside) };
    return known.authority;
  };
}

function findAuthority(chain: string, beside: string): Authority | null {
  const last = parse(chain).at(-1);
  if (last === undefined) return null;
  const authority = isSelfSigned(last)
    ? last
    : parse(beside).find((one) => last.checkIssued(one) && last.verify(one.publicKey));
  return authority === undefined || isPublic(authority) ? null : describe(authority);
}

function parse(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(pemForm) ?? [];
  try {
    return blocks.slice(0, maxCertificates).map((block) => new X509Certificate(block));
  } catch {
    return [];
  }
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey);
}

/** Whether programs that bring Mozilla's list of CAs know it. */
function isPublic(authority: X509Certificate): boolean {
  const { fingerprint256 } = authority;
  return rootCertificates.some((root) => new X509Certificate(root).fingerprint256 === fingerprint256);
}

function describe(authority: X509Certificate): Authority {
  return {
    pem: authority.toString(),
    fingerprint: authority.fingerprint256,
    expiresMs: Date.parse(authority.validTo),
  };
}
