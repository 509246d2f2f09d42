import { createPublicKey, randomBytes, sign, type KeyObject } from 'node:crypto';
import { formatPem } from '../pem-blocks.ts';
import { bitString, der, objectIdentifier, positiveInteger, tags } from './der.ts';

/** RFC 5280 appendix A: an extension of a certificate. */
export type Extension = { readonly id: string; readonly isCritical: boolean; readonly value: Buffer };

const ids = {
  commonName: '2.5.4.3',
  subjectAltName: '2.5.29.17',
  extensionRequest: '1.2.840.113549.1.9.14',
  sha256WithRsa: '1.2.840.113549.1.1.11',
  sha256WithEcdsa: '1.2.840.10045.4.3.2',
} as const;

/**
 * A certificate request (RFC 2986) without a subject for DNS names, signed with their key: RSA, or EC on P-256 or P-384.
 * @returns DER
 */
export function createCertificateRequest(key: KeyObject, names: readonly string[]): Buffer {
  const extensions = der(tags.sequence, formatExtension(altNames(names)));
  const attribute = der(tags.sequence, objectIdentifier(ids.extensionRequest), der(tags.set, extensions));
  const version = der(tags.integer, Buffer.from([0]));
  const subject = der(tags.sequence);
  return signStructure(
    der(tags.sequence, version, subject, exportPublicKey(key), der(tags.context(0), attribute)),
    key,
  );
}

/**
 * A self-signed certificate (RFC 5280) for DNS names, signed with their own key.
 * @returns PEM
 */
export function createSelfSigned({
  key,
  commonName,
  names,
  extensions = [],
  notBefore,
  notAfter,
}: {
  readonly key: KeyObject;
  readonly commonName: string;
  readonly names: readonly string[];
  readonly extensions?: readonly Extension[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}): string {
  const own = formatName(commonName);
  // Section 4.1.2.2: positive, at most 20 octets.
  const serial = randomBytes(16);
  serial.writeUInt8((serial.readUInt8(0) & 0x3f) | 0x40, 0);
  const all = [altNames(names), ...extensions].map(formatExtension);
  const toSign = der(
    tags.sequence,
    der(tags.context(0), der(tags.integer, Buffer.from([2]))),
    positiveInteger(serial),
    signatureAlgorithm(key),
    own,
    der(tags.sequence, formatTime(notBefore), formatTime(notAfter)),
    own,
    exportPublicKey(key),
    der(tags.context(3), der(tags.sequence, ...all)),
  );
  return formatPem('CERTIFICATE', signStructure(toSign, key));
}

function altNames(names: readonly string[]): Extension {
  const dnsNames = names.map((name) => der(tags.implicit(2), Buffer.from(name, 'ascii')));
  return { id: ids.subjectAltName, isCritical: false, value: der(tags.sequence, ...dnsNames) };
}

function formatName(commonName: string): Buffer {
  const value = der(tags.utf8String, Buffer.from(commonName));
  return der(tags.sequence, der(tags.set, der(tags.sequence, objectIdentifier(ids.commonName), value)));
}

function formatExtension({ id, isCritical, value }: Extension): Buffer {
  const critical = isCritical ? [der(tags.boolean, Buffer.from([0xff]))] : [];
  return der(tags.sequence, objectIdentifier(id), ...critical, der(tags.octetString, value));
}

/** RFC 5280 section 4.1.2.5: with two digits of the year before 2050, and without fractions of a second. */
function formatTime(time: Date): Buffer {
  const text = `${time.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)}Z`;
  return time.getUTCFullYear() < 2050
    ? der(tags.utcTime, Buffer.from(text.slice(2), 'ascii'))
    : der(tags.generalizedTime, Buffer.from(text, 'ascii'));
}

function signStructure(toSign: Buffer, key: KeyObject): Buffer {
  return der(tags.sequence, toSign, signatureAlgorithm(key), bitString(sign('sha256', toSign, key)));
}

function signatureAlgorithm({ asymmetricKeyType }: KeyObject): Buffer {
  return asymmetricKeyType === 'rsa'
    ? der(tags.sequence, objectIdentifier(ids.sha256WithRsa), der(tags.null))
    : der(tags.sequence, objectIdentifier(ids.sha256WithEcdsa));
}

function exportPublicKey(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' });
}
