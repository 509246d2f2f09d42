import {
  createHash,
  createPublicKey,
  generateKeyPair,
  randomBytes,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { promisify } from 'node:util';
import forge from 'node-forge';
import type { ServerName } from '../server-name.ts';

const dayMs = 86_400_000;
/** So that clients whose clocks are a little late accept a new certificate. */
const backdateMs = 3_600_000;
const authorityDays = 3650;
/** RFC 5280 appendix A, ub-common-name. */
const maxCommonNameLength = 64;

/** A CA that can sign: its certificate and its RSA key, both PEM. */
export type CertificateAuthority = { certPem: string; keyPem: string };

/** Generates an RSA key. @returns PKCS#8 PEM (RFC 5208), not encrypted. */
export async function createRsaKey(bits: 2048 | 3072): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: bits });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** What the certificates of a CA are for. */
export type AuthorityPurpose = 'servers' | 'clients';

/** Creates a root CA of RFC 5280 for certificates only one step below it, valid for ten years. */
export async function createAuthority(
  now: Date,
  purpose: AuthorityPurpose = 'servers',
): Promise<CertificateAuthority> {
  const keyPem = await createRsaKey(3072);
  const certificate = startCertificate(publicPem(keyPem));
  setValidity(certificate, now, authorityDays);
  const subject = [
    utf8Field('organizationName', 'Tidegate'),
    // Two CAs with the same name and different keys would hide each other in a trust store.
    utf8Field('commonName', `Tidegate ${purpose === 'clients' ? 'client ' : ''}CA ${keyFingerprint(keyPem)}`),
  ];
  certificate.setSubject(subject);
  certificate.setIssuer(subject);
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: true, pathLenConstraint: 0 },
    { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true },
    // In a CA it limits the certificates below: if this CA is trusted for servers by mistake, it still vouches for
    // none.
    ...(purpose === 'clients' ? [{ name: 'extKeyUsage', clientAuth: true }] : []),
    { name: 'subjectKeyIdentifier' },
  ]);
  return { certPem: sign(certificate, keyPem), keyPem };
}

/**
 * Issues a server certificate of RFC 5280 and RFC 6125 under the CA, for the public half of an RSA key.
 * @param days the whole lifetime, cut to the CA's own end.
 * @returns PEM of the leaf alone.
 * @throws Error when what came out does not verify under the CA.
 */
export function issueLeaf(
  authority: CertificateAuthority,
  leafKeyPem: string,
  names: readonly ServerName[],
  days: number,
  now: Date,
): string {
  const commonName = names[0]?.value ?? '';
  const hasCommonName = commonName.length <= maxCommonNameLength;
  return issue(authority, leafKeyPem, days, now, {
    commonName: hasCommonName ? commonName : null,
    extensions: [
      { name: 'keyUsage', critical: true, digitalSignature: true, keyEncipherment: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        // RFC 5280 section 4.2.1.6: critical when the subject is empty.
        critical: !hasCommonName,
        altNames: names.map(({ kind, value }) =>
          kind === 'dns' ? { type: 2, value } : { type: 7, ip: value },
        ),
      },
    ],
  });
}

/**
 * Issues a client certificate of RFC 5280 under the CA, for the public half of an RSA key; as {@link issueLeaf}.
 * @param name its common name, at most 64 characters.
 */
export function issueClientLeaf(
  authority: CertificateAuthority,
  leafKeyPem: string,
  name: string,
  days: number,
  now: Date,
): string {
  return issue(authority, leafKeyPem, days, now, {
    commonName: name,
    extensions: [
      { name: 'keyUsage', critical: true, digitalSignature: true },
      { name: 'extKeyUsage', clientAuth: true },
    ],
  });
}

function issue(
  authority: CertificateAuthority,
  leafKeyPem: string,
  days: number,
  now: Date,
  { commonName, extensions }: { commonName: string | null; extensions: readonly object[] },
): string {
  const issuer = forge.pki.certificateFromPem(authority.certPem);
  const certificate = startCertificate(publicPem(leafKeyPem));
  setValidity(certificate, now, days, issuer.validity);
  certificate.setSubject(commonName === null ? [] : [utf8Field('commonName', commonName)]);
  certificate.setIssuer(issuer.subject.attributes.map(decodeField));
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: false },
    ...extensions,
    { name: 'subjectKeyIdentifier' },
    { name: 'authorityKeyIdentifier', keyIdentifier: subjectKeyId(issuer) },
  ]);
  const leafPem = sign(certificate, authority.keyPem);
  const leaf = new X509Certificate(leafPem);
  const ca = new X509Certificate(authority.certPem);
  // If node-forge can't reproduce the name or identifiers of a foreign CA, the result is refused: nobody would accept
  // it.
  if (!leaf.checkIssued(ca) || !leaf.verify(ca.publicKey)) {
    throw new Error('the new certificate does not verify under the CA');
  }
  return leafPem;
}

/** Whether a key can sign or be signed here: node-forge knows RSA only. */
export function isRsaKey(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048;
}

function startCertificate(publicKeyPem: string): forge.pki.Certificate {
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.publicKeyFromPem(publicKeyPem);
  // RFC 5280 section 4.1.2.2: positive, at most 20 octets. The top bits 01 make it 159 bits in minimal DER.
  const serial = randomBytes(20);
  serial.writeUInt8((serial.readUInt8(0) & 0x3f) | 0x40, 0);
  certificate.serialNumber = serial.toString('hex');
  return certificate;
}

function setValidity(
  certificate: forge.pki.Certificate,
  now: Date,
  days: number,
  within?: { notBefore: Date; notAfter: Date },
): void {
  const backdated = now.getTime() - backdateMs;
  const notBeforeMs = Math.max(backdated, within?.notBefore.getTime() ?? backdated);
  // RFC 5280 section 4.1.2.5: both ends belong to the period, so one second less.
  const notAfterMs = notBeforeMs + days * dayMs - 1000;
  certificate.validity.notBefore = new Date(notBeforeMs);
  certificate.validity.notAfter = new Date(Math.min(notAfterMs, within?.notAfter.getTime() ?? notAfterMs));
}

function sign(certificate: forge.pki.Certificate, signerKeyPem: string): string {
  certificate.sign(forge.pki.privateKeyFromPem(signerKeyPem), forge.md.sha256.create());
  return forge.pki.certificateToPem(certificate).replaceAll('\r\n', '\n');
}

function publicPem(privateKeyPem: string): string {
  return createPublicKey(privateKeyPem).export({ type: 'spki', format: 'pem' }).toString();
}

function keyFingerprint(privateKeyPem: string): string {
  const der = createPublicKey(privateKeyPem).export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(der).digest('hex').slice(0, 8);
}

/** The CA's own identifier if it has one: RFC 5280 section 4.2.1.1 demands the same octets. */
function subjectKeyId(issuer: forge.pki.Certificate): string {
  const extension = issuer.getExtension('subjectKeyIdentifier') as
    { subjectKeyIdentifier?: string } | undefined;
  const hex = extension?.subjectKeyIdentifier;
  return hex === undefined ? issuer.generateSubjectKeyIdentifier().getBytes() : forge.util.hexToBytes(hex);
}

/** node-forge reads a UTF8String as raw bytes, but encodes it when it writes: undone here, the name stays the same. */
function decodeField(field: forge.pki.CertificateField): forge.pki.CertificateField {
  const isUtf8 = (field.valueTagClass as number | undefined) === (forge.asn1.Type.UTF8 as number);
  return isUtf8 && typeof field.value === 'string'
    ? { ...field, value: forge.util.decodeUtf8(field.value) }
    : field;
}

function utf8Field(name: string, value: string): forge.pki.CertificateField {
  return { name, value, valueTagClass: forge.asn1.Type.UTF8 as unknown as forge.asn1.Class };
}
