import { createHash } from 'node:crypto';
import type { RawHeaders } from '../http/raw-headers.ts';

/** A complete answer of upstream. */
export type Answer = {
  readonly status: number;
  /** The reason phrase of the status line. */
  readonly reason: string;
  readonly rawHeaders: RawHeaders;
  readonly body: Buffer;
};

/** The hash at the beginning of a stored answer. */
export const hashBytes = 32;
const lengthBytes = 4;
const maxHeadBytes = 64 * 1024;
/** RFC 9112 section 4 (reason-phrase) and RFC 9110 section 5.5 (field-value), one character per byte as in Node. */
const textForm = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Encodes a 200 for the store: SHA-256 of the rest, length of the head, reason and headers as JSON, body. */
export function encodeEntry({ reason, rawHeaders, body }: Answer): Buffer {
  const head = Buffer.from(JSON.stringify([reason, ...rawHeaders]));
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32BE(head.length);
  const content = Buffer.concat([length, head, body]);
  return Buffer.concat([createHash('sha256').update(content).digest(), content]);
}

/**
 * Reads a stored answer; null if any bit differs from what was stored, or if the form is not one that is ever stored:
 * whoever can write to the store can forge the hash too.
 */
export function decodeEntry(stored: Buffer): Answer | null {
  const content = stored.subarray(hashBytes);
  if (content.length < lengthBytes || !hasItsHash(stored)) return null;
  const headBytes = content.readUInt32BE(0);
  const bodyStart = lengthBytes + headBytes;
  if (headBytes > maxHeadBytes || bodyStart > content.length) return null;
  const head = parseHead(content.toString('utf8', lengthBytes, bodyStart));
  if (head === null) return null;
  const [reason = '', ...rawHeaders] = head;
  return { status: 200, reason, rawHeaders, body: content.subarray(bodyStart) };
}

/** Whether it begins with the hash of the rest. */
export function hasItsHash(stored: Buffer): boolean {
  const hash = createHash('sha256').update(stored.subarray(hashBytes)).digest();
  return hash.equals(stored.subarray(0, hashBytes));
}

/** Parses a list of texts: the reason, then name and value of each field; null for anything else. */
function parseHead(text: string): readonly string[] | null {
  let head: unknown;
  try {
    head = JSON.parse(text);
  } catch {
    return null;
  }
  if (!Array.isArray(head) || head.length % 2 === 0) return null;
  return head.every((part): part is string => typeof part === 'string' && textForm.test(part)) ? head : null;
}
