import type { X509Certificate } from 'node:crypto';
import { parseCertificates } from '../../../tls/pem.ts';
import { parseAltNames, type ServerName } from '../../../tls/server-name.ts';
import { broken, count, ok, quoteForeign, warning, type Finding } from '../../finding.ts';
import type { Handshake, TlsVersion } from './handshake.ts';
import type { Trust } from './trust.ts';

const dayMs = 86_400_000;
const warnDays = 14;
const minRsaBits = 2048;

const renew =
  'tidegate cert create && tidegate reload (for a certificate of another CA: renew it there, then tidegate reload)';

/** Faults of dates only, which {@link judgeLifetime} reports. */
const dateFaults: readonly string[] = ['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'];
const unknownIssuerFaults: readonly string[] = [
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];

/** Judges whether the CAs verify the server's chain. */
export function judgeChain({ chain, fault }: Pick<Handshake, 'chain' | 'fault'>, trust: Trust): Finding {
  const check = 'tls.chain';
  const [leaf] = chain;
  const issuer = quoteForeign(commonName(leaf.issuer));
  // OpenSSL reports only one fault, and a date fault hides an unknown issuer.
  if (fault === null || (dateFaults.includes(fault) && isAnchored(chain, trust))) {
    return ok(check, `Issued by "${issuer}", verified with ${trust.shown}.`);
  }
  if (fault === 'DEPTH_ZERO_SELF_SIGNED_CERT') {
    return broken(
      check,
      `The certificate is self-signed and not known to ${trust.shown}.`,
      'name it with --ca FILE, or make a CA and a certificate under it: tidegate cert create --host NAME --force',
    );
  }
  if (unknownIssuerFaults.includes(fault) || dateFaults.includes(fault)) {
    const alone = chain.length === 1 ? 'The server sends only its own certificate, and its' : 'The';
    return broken(
      check,
      `${alone} issuer "${issuer}" is not known to ${trust.shown}.`,
      'name the CA with --ca FILE, and let clients trust it (tidegate cert trust); where the issuer is an intermediate, append its certificate to tls.cert',
    );
  }
  return broken(
    check,
    `OpenSSL refuses the chain: ${quoteForeign(fault)}.`,
    'have the certificate issued again',
  );
}

/**
 * Judges whether the certificate is valid for the name that clients use, compared as Go's and OpenSSL's clients do (RFC
 * 9525).
 */
export function judgeName(leaf: X509Certificate, { kind, value }: ServerName): Finding {
  const check = 'tls.name';
  const names = parseAltNames(leaf.subjectAltName).map((name) => name.value);
  const isCovered =
    kind === 'ip'
      ? leaf.checkIP(value) !== undefined
      : leaf.checkHost(value, { subject: 'never' }) !== undefined;
  if (isCovered) return ok(check, `The certificate is valid for ${value}.`);
  const shown =
    names.length === 0 ? 'it names no host at all' : `it is for ${quoteForeign(names.join(', '))}`;
  const hosts = names.filter((name) => !name.includes(':') && !/^[\d.]+$/.test(name)).concat(value);
  return broken(
    check,
    `The certificate is not valid for ${value}: ${shown}.`,
    kind === 'dns'
      ? `tidegate cert create --host ${hosts.join(',')} && tidegate reload`
      : `tidegate cert create --host NAMES --ip ${value} && tidegate reload`,
  );
}

/** Judges whether the certificate, and the CAs above it, are valid now and for a while. */
export function judgeLifetime(chain: Handshake['chain'], now: Date): Finding {
  const check = 'tls.lifetime';
  const early = chain.find(({ validFrom }) => new Date(validFrom) > now);
  if (early !== undefined) {
    return broken(
      check,
      `${shownName(early, chain)} is not valid before ${new Date(early.validFrom).toISOString()}.`,
      "set this machine's clock right (timedatectl set-ntp true), or wait",
    );
  }
  const [first] = [...chain].sort((a, b) => endOf(a) - endOf(b));
  const ending = first ?? chain[0];
  const end = new Date(ending.validTo);
  const days = Math.floor(Math.abs(end.getTime() - now.getTime()) / dayMs);
  const name = shownName(ending, chain);
  if (end <= now)
    return broken(check, `${name} expired ${count(days, 'day')} ago, on ${end.toISOString()}.`, renew);
  const left = `${name} is valid for ${count(days, 'more day', 'more days')}, to ${end.toISOString()}.`;
  return days < warnDays ? warning(check, left, renew) : ok(check, left);
}

/** Judges whether clients accept the key's kind and size. */
export function judgeKey({ publicKey }: X509Certificate): Finding {
  const check = 'tls.key';
  const type = publicKey.asymmetricKeyType ?? 'unknown';
  const { modulusLength: bits, namedCurve } = publicKey.asymmetricKeyDetails ?? {};
  if (type === 'rsa' && (bits ?? 0) < minRsaBits) {
    return broken(
      check,
      `The key is RSA with ${bits ?? 0} bits, which clients refuse.`,
      'tidegate cert create --host NAME --force && tidegate reload',
    );
  }
  const detail = bits === undefined ? (namedCurve ?? '') : `${bits} bits`;
  return ok(check, `The key is ${`${type.toUpperCase()} ${detail}`.trim()}.`);
}

/** Judges whether TLS 1.0 and 1.1, which RFC 8996 forbids, are refused. */
export function judgeVersions(spoken: ReadonlyMap<TlsVersion, boolean | null>): Finding {
  const check = 'tls.versions';
  const names = (wanted: boolean | null) =>
    [...spoken].filter(([, is]) => is === wanted).map(([version]) => version);
  const old = names(true).filter((version) => version === 'TLSv1' || version === 'TLSv1.1');
  const all = names(true).join(', ') || 'no version that can be tried from here';
  if (old.length > 0) {
    return warning(
      check,
      `It speaks ${all}, and ${old.join(' and ')} ${old.length === 1 ? 'is' : 'are'} not safe any more (RFC 8996).`,
      'something other than Tidegate terminates TLS here; in nginx: ssl_protocols TLSv1.2 TLSv1.3;',
    );
  }
  const unknown = names(null);
  const rest = unknown.length === 0 ? '' : `; this machine cannot try ${unknown.join(', ')}`;
  return ok(check, `It speaks ${all}, and nothing older${rest}.`);
}

/** Judges whether the server sends the certificate on disk. */
export function judgeServed(served: X509Certificate, onDisk: X509Certificate, path: string): Finding {
  const check = 'tls.served';
  if (served.fingerprint256 === onDisk.fingerprint256) return ok(check, `It is the certificate of ${path}.`);
  return warning(
    check,
    `It is not the certificate of ${path}: not loaded yet, or something else terminates TLS before Tidegate.`,
    'tidegate reload',
  );
}

/** Whether each certificate is signed by the next, and the last is a trusted CA or signed by one. */
function isAnchored(chain: Handshake['chain'], trust: Trust): boolean {
  const isLinked = chain.every((certificate, index) => {
    const issuer = chain[index + 1];
    return issuer === undefined || (certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey));
  });
  const last = chain.at(-1) ?? chain[0];
  const anchors = trust.ca.flatMap((pem) => parseCertificates(pem, trust.shown));
  return (
    isLinked &&
    anchors.some(
      (anchor) =>
        anchor.fingerprint256 === last.fingerprint256 ||
        (last.checkIssued(anchor) && last.verify(anchor.publicKey)),
    )
  );
}

function endOf({ validTo }: X509Certificate): number {
  return new Date(validTo).getTime();
}

function shownName(certificate: X509Certificate, chain: Handshake['chain']): string {
  return certificate === chain[0]
    ? 'The certificate'
    : `The CA certificate "${quoteForeign(commonName(certificate.subject))}"`;
}

/** Node writes each part of a distinguished name on its own line, and may return none. */
function commonName(name: string | undefined): string {
  const parts = (name ?? '').split('\n');
  return parts.find((part) => part.startsWith('CN='))?.slice(3) ?? parts.join(', ');
}
