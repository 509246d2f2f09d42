import { createPrivateKey, type KeyObject } from 'node:crypto';
import { OperatorError } from '../system/operator-error.ts';
import { describeForeignForm, isUtf16 } from './other-formats.ts';
import { describeLeftOut, formatLeftOut, type LeftOut } from './skipped-blocks.ts';
import { formatPem, readPemBlocks, type PemBlock } from './pem-blocks.ts';
import { quote } from './trust.ts';

/** The private key of a PEM file. */
export type PrivateKey = {
  readonly key: KeyObject;
  /** The key as PKCS#8. */
  readonly pem: string;
  /** What else is in the file, in at most one sentence. */
  readonly warnings: readonly string[];
};

/**
 * Reads the first private key of a PEM text that was decoded as Latin-1: PKCS#8, PKCS#1 (RSA) or SEC1 (EC); `path` is
 * for messages only.
 * @param holdsCertificate whether the file may also hold a certificate
 * @throws OperatorError when there is none, or it is damaged or encrypted with a password
 */
export function readPrivateKey(
  text: string,
  path: string,
  { holdsCertificate = false }: { readonly holdsCertificate?: boolean } = {},
): PrivateKey {
  const { blocks, faults } = isUtf16(text) ? { blocks: [], faults: [] } : readPemBlocks(text);
  const block = blocks.find(({ label }) => isKey(label));
  const fault = faults.find(({ label }) => isKey(label));
  if (fault !== undefined && !(block !== undefined && block.line < fault.line)) {
    throw damaged(path, fault.line, fault.reason);
  }
  const others: LeftOut[] = [...faults, ...blocks.filter((other) => other !== block)].filter(
    // openssl ecparam -genkey writes the curve before the key, which names it as well.
    ({ label }) => label !== 'EC PARAMETERS' && !(holdsCertificate && label.endsWith('CERTIFICATE')),
  );
  if (block === undefined) throw holdsNone(text, path, others);
  const key = parseBlock(block, path);
  return {
    key,
    pem: String(key.export({ type: 'pkcs8', format: 'pem' })),
    warnings: formatLeftOut(path, others),
  };
}

function isKey(label: string): boolean {
  return label.endsWith('PRIVATE KEY');
}

function parseBlock({ label, der, line, isEncrypted }: PemBlock, path: string): KeyObject {
  // PKCS#8 says so in its label, the older forms in a header (RFC 1421 section 4.6.1.1).
  if (isEncrypted || label === 'ENCRYPTED PRIVATE KEY') {
    throw new OperatorError(
      `${path} is encrypted with a password, which nobody can type when the server starts; strip it with: (umask 077; openssl pkey -in ${path} -out ${path}.plain) and use that file.`,
    );
  }
  if (label === 'OPENSSH PRIVATE KEY') {
    throw new OperatorError(
      `${path} holds a private key in OpenSSH's own form (line ${line}): convert a copy of it: ssh-keygen -p -m PEM -f ${quote(path)}`,
    );
  }
  try {
    return createPrivateKey(formatPem(label, der));
  } catch (cause) {
    throw damaged(path, line, 'or of an unknown kind', cause);
  }
}

function damaged(path: string, line: number, reason: string, cause?: unknown): OperatorError {
  return new OperatorError(
    `${path}: the private key is damaged (line ${line}: ${reason}): put the file there again from its source.`,
    { cause },
  );
}

function holdsNone(text: string, path: string, others: readonly LeftOut[]): OperatorError {
  const { what, remedy } =
    others.length > 0
      ? { what: `what it holds: ${describeLeftOut(others)}`, remedy: null }
      : describeForeignForm(text, path);
  return new OperatorError(
    `${path} holds no private key in PEM form (${what}): ${remedy ?? 'put the right file there.'}`,
  );
}
