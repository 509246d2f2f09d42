import { X509Certificate } from 'node:crypto';
import { OperatorError } from '../system/operator-error.ts';
import { derLength, describeForeignForm, isPkcs7, isUtf16 } from './other-formats.ts';
import { describeLeftOut, formatLeftOut, type LeftOut } from './skipped-blocks.ts';
import { formatPem, readPemBlocks, type PemBlock } from './pem-blocks.ts';
import { quote } from './trust.ts';

/** The certificates of a PEM file in order, without duplicates. */
export type CertificateList = {
  readonly certificates: readonly [X509Certificate, ...X509Certificate[]];
  /** The certificates as PEM, for a server's chain. */
  readonly chainPem: string;
  /** The certificates as trust anchors, with the uses that OpenSSL's TRUSTED CERTIFICATE trusts or rejects. */
  readonly anchorPem: string;
  /** What else is in the file, in at most one sentence. */
  readonly warnings: readonly string[];
};

type ReadOptions = {
  /** What to do about a file that holds no certificate, as the end of a sentence. */
  readonly whenNone?: string;
  /** Whether the file may also hold a private key. */
  readonly holdsKey?: boolean;
};

type Parsed = { readonly block: PemBlock; readonly certificate: X509Certificate };

/** The label of RFC 7468 section 5, and the two others that OpenSSL reads for the same. */
const trustedLabel = 'TRUSTED CERTIFICATE';
const certificateLabels: readonly string[] = ['CERTIFICATE', 'X509 CERTIFICATE', trustedLabel];

/**
 * Reads all certificates of a PEM text that was decoded as Latin-1; `path` is for messages only. Give OpenSSL only text
 * made from the result, never the file: OpenSSL silently skips what it can't read.
 * @throws OperatorError when a certificate is damaged, or there is none
 */
export function readCertificateList(text: string, path: string, options: ReadOptions = {}): CertificateList {
  const { blocks, faults } = isUtf16(text) ? { blocks: [], faults: [] } : readPemBlocks(text);
  const fault = faults.find(({ label }) => certificateLabels.includes(label));
  if (fault !== undefined) throw damaged(path, fault.line, fault.reason);
  const parsed: Parsed[] = [];
  const leftOut: LeftOut[] = [...faults];
  const firstLines = new Map<string, number>();
  for (const block of blocks) {
    const { line, label } = block;
    if (!certificateLabels.includes(label)) {
      if (!(options.holdsKey === true && label.endsWith('PRIVATE KEY'))) leftOut.push({ line, label });
      continue;
    }
    const certificate = parseBlock(block, path);
    const first = firstLines.get(certificate.fingerprint256);
    if (first === undefined) parsed.push({ block, certificate });
    else leftOut.push({ line, label, reason: `the same certificate as on line ${first}` });
    firstLines.set(certificate.fingerprint256, first ?? line);
  }
  const [one, ...others] = parsed.map(({ certificate }) => certificate);
  if (one === undefined) throw holdsNone(text, path, leftOut, options);
  // Such as two joined files, one of them in UTF-16.
  const nul = text.indexOf('\0');
  if (nul !== -1) {
    const line = text.slice(0, nul).split(/\r\n|\r|\n/).length;
    throw new OperatorError(
      `${path}: line ${line} holds bytes that are not text (UTF-16, or binary): put the file together again from PEM files.`,
    );
  }
  return {
    certificates: [one, ...others],
    chainPem: [one, ...others].map(({ raw }) => formatPem('CERTIFICATE', raw)).join(''),
    anchorPem: parsed.map(formatAnchor).join(''),
    warnings: formatLeftOut(path, leftOut),
  };
}

/**
 * Follows OpenSSL: PEM_read_bio_X509_AUX accepts a certificate under any of the labels, with its trust settings behind
 * it.
 */
function formatAnchor({ block, certificate }: Parsed): string {
  return block.label === trustedLabel
    ? formatPem(trustedLabel, block.der)
    : formatPem('CERTIFICATE', certificate.raw);
}

function parseBlock({ label, line, der, isEncrypted }: PemBlock, path: string): X509Certificate {
  if (isPkcs7(der)) {
    throw new OperatorError(
      `${path}: the certificate on line ${line} is PKCS#7 under another name: convert it: openssl pkcs7 -print_certs -in ${quote(path)} -out ${quote(`${path}.pem`)}`,
    );
  }
  if (isEncrypted) throw damaged(path, line, 'it is encrypted');
  const length = derLength(der);
  if (length === null) throw damaged(path, line, 'it was cut off');
  if (label !== trustedLabel && length < der.length) throw damaged(path, line, 'bytes follow it');
  try {
    if (length < der.length) new X509Certificate(formatPem(trustedLabel, der)); // the trust settings are well-formed
    return new X509Certificate(der.subarray(0, length));
  } catch (cause) {
    throw damaged(path, line, 'it is not a certificate', cause);
  }
}

function damaged(path: string, line: number, reason: string, cause?: unknown): OperatorError {
  return new OperatorError(
    `${path}: the certificate on line ${line} is damaged (${reason}): put the file there again from its source.`,
    { cause },
  );
}

function holdsNone(
  text: string,
  path: string,
  leftOut: readonly LeftOut[],
  { whenNone = 'put the right file there' }: ReadOptions,
): OperatorError {
  const refuse = (what: string, remedy: string | null) =>
    new OperatorError(`${path} holds no certificate in PEM form (${what}): ${remedy ?? `${whenNone}.`}`);
  if (leftOut.length === 0) {
    const { what, remedy } = describeForeignForm(text, path);
    return refuse(what, remedy);
  }
  const isPkcs7File = leftOut.some(
    ({ label, reason }) => reason === undefined && /^PKCS ?#?7|^CMS$/.test(label),
  );
  return refuse(
    `what it holds: ${describeLeftOut(leftOut)}`,
    isPkcs7File
      ? `convert it: openssl pkcs7 -print_certs -in ${quote(path)} -out ${quote(`${path}.pem`)}`
      : null,
  );
}
