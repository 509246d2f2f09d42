import { createHash } from 'node:crypto';
import type { RawHeaders } from '../oci/raw-headers.ts';

/** An answer of upstream's, whole. */
export type Answer = {
  readonly status: number;
  /** The reason phrase of the status line. */
  readonly reason: string;
  readonly rawHeaders: RawHeaders;
  readonly body: Buffer;
};

const hashBytes = 32;
const lengthBytes = 4;

/** The bytes under which a 200 is stored: SHA-256 of what follows, length of the head, reason and headers as JSON, body. */
export function encodeEntry({ reason, rawHeaders, body }: Answer): Buffer {
  const head = Buffer.from(JSON.stringify([reason, ...rawHeaders]));
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32BE(head.length);
  const content = Buffer.concat([length, head, body]);
  return Buffer.concat([createHash('sha256').update(content).digest(), content]);
}

/** Reads a stored answer; null when a single bit of it is not what was stored. */
export function decodeEntry(stored: Buffer): Answer | null {
  const content = stored.subarray(hashBytes);
  if (content.length < lengthBytes) return null;
  if (!createHash('sha256').update(content).digest().equals(stored.subarray(0, hashBytes))) return null;
  const bodyStart = lengthBytes + content.readUInt32BE(0);
  const [reason = '', ...rawHeaders] = JSON.parse(
    content.toString('utf8', lengthBytes, bodyStart),
  ) as string[];
  return { status: 200, reason, rawHeaders, body: content.subarray(bodyStart) };
}
