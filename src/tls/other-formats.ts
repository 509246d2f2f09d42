import { createPrivateKey, X509Certificate } from 'node:crypto';
import { quote } from './trust.ts';

/** The format of a file without a PEM block, and the command that converts it to PEM. */
export type ForeignForm = {
  /** As the end of a sentence. */
  readonly what: string;
  /** Null where the caller decides what to do. */
  readonly remedy: string | null;
};

/** The content types of CMS (RFC 5652): signedData, as an object identifier in DER. */
const signedData = Buffer.from('06092a864886f70d010702', 'hex');
const javaKeyStore = '\xfe\xed\xfe\xed';

/** Whether a DER structure is PKCS#7, in which some CAs hand out a chain. */
export function isPkcs7(der: Buffer): boolean {
  return der[0] === 0x30 && der.subarray(0, 32).includes(signedData);
}

/** Detects the format of a file without a usable PEM block; `text` was decoded as Latin-1. */
export function describeForeignForm(text: string, path: string): ForeignForm {
  const from = quote(path);
  const to = quote(`${path}.pem`);
  if (/^[\s\0]*$/.test(text)) return { what: 'the file is empty', remedy: null };
  if (isUtf16(text)) {
    return { what: 'it is text in UTF-16', remedy: `convert it: iconv -f UTF-16 -t UTF-8 ${from} > ${to}` };
  }
  if (text.startsWith(javaKeyStore)) {
    return {
      what: 'it is a Java key store',
      remedy: `convert it: keytool -importkeystore -srckeystore ${from} -destkeystore ${quote(`${path}.p12`)} -deststoretype pkcs12, then openssl pkcs12`,
    };
  }
  return describeDer(Buffer.from(text, 'latin1'), from, to) ?? describeBase64(text, from, to) ?? noBegin;
}

const noBegin: ForeignForm = { what: 'it has no BEGIN line', remedy: null };

/** Whether a text is in UTF-16, with a byte order mark or without, as Windows' PowerShell redirects write it. */
export function isUtf16(text: string): boolean {
  return /^(?:\xff\xfe|\xfe\xff|(?:\0[\t\n\r -~]){4}|(?:[\t\n\r -~]\0){4})/.test(text);
}

function describeDer(der: Buffer, from: string, to: string): ForeignForm | null {
  if (der[0] !== 0x30 || derLength(der) === null) return null;
  const convert = (command: string) => `convert it: openssl ${command}`;
  if (isPkcs7(der)) {
    return {
      what: 'it is PKCS#7 in DER form',
      remedy: convert(`pkcs7 -inform der -print_certs -in ${from} -out ${to}`),
    };
  }
  if (tries(() => new X509Certificate(der))) {
    return {
      what: 'it is a certificate in DER form',
      remedy: convert(`x509 -inform der -in ${from} -out ${to}`),
    };
  }
  // RFC 7292 section 4: the version, which is 3, and the content.
  if (/^.{2,6}\x02\x01\x03\x30/s.test(der.toString('latin1', 0, 16))) {
    return { what: 'it is PKCS#12', remedy: convert(`pkcs12 -in ${from} -noenc -out ${to}`) };
  }
  const isKey = (['pkcs8', 'pkcs1', 'sec1'] as const).some((type) =>
    tries(() => createPrivateKey({ key: der, format: 'der', type })),
  );
  return isKey
    ? {
        what: 'it is a private key in DER form',
        remedy: `convert it: (umask 077; openssl pkey -inform der -in ${from} -out ${to})`,
      }
    : { what: 'it is binary (DER) of an unknown kind', remedy: null };
}

/** Shorter than any certificate or key, in characters: a word could be Base64, too. */
const shortestBase64 = 64;

function describeBase64(text: string, from: string, to: string): ForeignForm | null {
  const base64 = text.replace(/[ \t\r\n]+/g, '');
  if (base64.length < shortestBase64 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return null;
  const inner = Buffer.from(base64, 'base64');
  if (inner.includes('-----BEGIN ')) {
    return { what: 'it is PEM encoded in Base64 once more', remedy: `decode it: base64 -di ${from} > ${to}` };
  }
  return inner[0] === 0x30 && derLength(inner) !== null
    ? {
        what: 'it is Base64 without BEGIN and END lines',
        remedy: `convert it: base64 -di ${from} | openssl x509 -inform der -out ${to}`,
      }
    : null;
}

/** Measures the DER structure that bytes begin with, head included (X.690 section 8.1.3); null when it is incomplete. */
export function derLength(bytes: Uint8Array): number | null {
  const [, first = 0x80] = bytes;
  let length = first;
  let head = 2;
  if (first >= 0x80) {
    head += first - 0x80;
    if (first === 0x80 || head > 6) return null;
    length = bytes.subarray(2, head).reduce((sum, byte) => sum * 256 + byte, 0);
  }
  return head + length <= bytes.length ? head + length : null;
}

function tries(act: () => unknown): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}
