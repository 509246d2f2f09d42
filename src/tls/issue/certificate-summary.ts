import type { X509Certificate } from 'node:crypto';
import { parseAltNames } from '../server-name.ts';

const dayMs = 86_400_000;

/** Describes a certificate to an operator. @returns lines, the last one ended. */
export function formatCertificate(certificate: X509Certificate, path: string, now: Date): string {
  const names = parseAltNames(certificate.subjectAltName).map(({ value }) => value);
  const rows: [string, string][] = [
    ['subject', oneLine(certificate.subject)],
    ...(names.length > 0 ? [['names', names.join(', ')] satisfies [string, string]] : []),
    ['issuer', oneLine(certificate.issuer)],
    ['valid from', new Date(certificate.validFrom).toISOString()],
    ['valid to', formatEnd(new Date(certificate.validTo), now)],
    ['SHA-256', certificate.fingerprint256],
    ['key', formatKey(certificate)],
  ];
  return [path, ...rows.map(([label, value]) => `  ${label.padEnd(10)}  ${value}`)].join('\n') + '\n';
}

function formatEnd(end: Date, now: Date): string {
  const days = Math.floor(Math.abs(end.getTime() - now.getTime()) / dayMs);
  const count = days === 1 ? '1 day' : `${days} days`;
  return `${end.toISOString()} (${end <= now ? `EXPIRED ${count} ago` : `${count} left`})`;
}

/** Node puts each part of a distinguished name on its own line, and returns nothing for an empty one. */
function oneLine(name: string | undefined): string {
  return name === undefined || name === '' ? '(empty)' : name.split('\n').join(', ');
}

function formatKey({ publicKey }: X509Certificate): string {
  const { modulusLength, namedCurve } = publicKey.asymmetricKeyDetails ?? {};
  const type = (publicKey.asymmetricKeyType ?? 'unknown').toUpperCase();
  const detail = modulusLength === undefined ? namedCurve : `${modulusLength} bits`;
  return detail === undefined ? type : `${type}, ${detail}`;
}
