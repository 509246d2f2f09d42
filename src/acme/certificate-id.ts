import type { X509Certificate } from 'node:crypto';

/** The extension authorityKeyIdentifier (2.5.29.35), as an object identifier in DER. */
const authorityKeyIdentifier = Buffer.from('0603551d23', 'hex');

/** The name of a certificate for a CA (RFC 9773 section 4.1); null: it names no key of its issuer. */
export function certificateId(certificate: X509Certificate): string | null {
  const keyId = readAuthorityKeyId(certificate.raw);
  if (keyId === null) return null;
  const hex = certificate.serialNumber;
  const serial = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  // As DER has it: a first bit of 1 would be a minus.
  const signed = (serial[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), serial]) : serial;
  return `${keyId.toString('base64url')}.${signed.toString('base64url')}`;
}

function readAuthorityKeyId(der: Buffer): Buffer | null {
  const at = der.indexOf(authorityKeyIdentifier);
  if (at === -1) return null;
  // OCTET STRING, SEQUENCE and [0], each shorter than 128 bytes; it is never critical (RFC 5280 section 4.2.1.1).
  const rest = der.subarray(at + authorityKeyIdentifier.length);
  const [octets, , sequence, , keyId, length = 0] = rest;
  if (octets !== 0x04 || sequence !== 0x30 || keyId !== 0x80 || length === 0 || length > 64) return null;
  return rest.subarray(6, 6 + length);
}
