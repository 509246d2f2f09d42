import { createHash } from 'node:crypto';
import type { RawHeaders } from '../http/raw-headers.ts';

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
const maxHeadBytes = 64 * 1024;
/** RFC 9112 section 4 (reason-phrase) and RFC 9110 section 5.5 (field-value), in Node's one character a byte. */
const textForm = /^[\t\x20-\x7e\x80-\xff]*$/;

/** The bytes under which a 200 is stored: SHA-256 of what follows, length of the head, reason and headers as JSON, body. */
export function encodeEntry({ reason, rawHeaders, body }: Answer): Buffer {
  const head = Buffer.from(JSON.stringify([reason, ...rawHeaders]));
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32BE(head.length);
  const content = Buffer.concat([length, head, body]);
  return Buffer.concat([createHash('sha256').update(content).digest(), content]);
}

/**
 * Reads a stored answer; null when a single bit of it is not what was stored, or it is in no form that is ever stored: whoever
 * can write to the store can make the hash right, too.
 */
export function decodeEntry(stored: Buffer): Answer | null {
  const content = stored.subarray(hashBytes);
  if (content.length < lengthBytes) return null;
  if (!createHash('sha256').update(content).digest().equals(stored.subarray(0, hashBytes))) return null;
  const headBytes = content.readUInt32BE(0);
  const bodyStart = lengthBytes + headBytes;
  if (headBytes > maxHeadBytes || bodyStart > content.length) return null;
  const head = parseHead(content.toString('utf8', lengthBytes, bodyStart));
  if (head === null) return null;
  const [reason = '', ...rawHeaders] = head;
  return { status: 200, reason, rawHeaders, body: content.subarray(bodyStart) };
}

/** A list of texts, of which the first is the reason and two each a field; null for anything else. */
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
