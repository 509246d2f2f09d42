import { isUtf8 as isUtf8Bytes } from 'node:buffer';

/** The largest htpasswd file that is read, in bytes. */
export const maxHtpasswdBytes = 16 * 1024 * 1024;

/** CR alone too: a file of old Macs, or of an editor on one, is not one long line. */
export const lineEnd = /\r\n|\n|\r/;

/**
 * A byte of a line that is not UTF-8 becomes a lone surrogate, U+DC00 plus the byte, which no UTF-8 yields: so it can
 * be written back.
 */
const strayByte = /[\udc80-\udcff]/u;

/**
 * Decodes an htpasswd file line by line: a line that is not UTF-8 may be a comment, and affects no other. Keeps a byte
 * order mark and every other byte: {@link encodeHtpasswd} restores them.
 * @throws Error with the reason when it is too large or not text
 */
export function decodeHtpasswd(bytes: Uint8Array): string {
  if (bytes.length > maxHtpasswdBytes) throw new Error(`it is larger than ${maxHtpasswdBytes} bytes`);
  if (isUtf16(bytes)) throw new Error('it is text in UTF-16: save it as UTF-8');
  if (bytes.includes(0)) refuseBinary(bytes);
  const buffer = Buffer.from(bytes);
  if (isUtf8Bytes(buffer)) return buffer.toString();
  const lines = buffer.toString('latin1').split(/(?<=[\r\n])/);
  return lines.map(decodeLine).join('');
}

/** The bytes of a text that {@link decodeHtpasswd} gave. */
export function encodeHtpasswd(text: string): Buffer {
  if (!strayByte.test(text)) return Buffer.from(text);
  const parts = text.split(new RegExp(`(${strayByte.source})`, 'u'));
  return Buffer.concat(
    parts.map((part) => (strayByte.test(part) ? Buffer.of(part.charCodeAt(0) - 0xdc00) : Buffer.from(part))),
  );
}

/** Whether a part of a decoded text is UTF-8 in the file. */
export function isUtf8(text: string): boolean {
  return !strayByte.test(text);
}

/** Checks each field separately: a field behind the hash may hold anything. */
function decodeLine(latin1: string): string {
  return latin1
    .split(/(?<=^\xef\xbb\xbf|:)/)
    .map(decodeField)
    .join('');
}

function decodeField(latin1: string): string {
  const bytes = Buffer.from(latin1, 'latin1');
  if (isUtf8Bytes(bytes)) return bytes.toString();
  return latin1.replace(/[\x80-\xff]/g, (byte) => String.fromCharCode(0xdc00 + byte.charCodeAt(0)));
}

/** Detects it by its byte order mark, which is not UTF-8, or by NUL in every second byte of its beginning. */
function isUtf16(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.subarray(0, 6)).toString('latin1');
  return /^(?:\xff\xfe|\xfe\xff|(?:[^\0]\0){3}|(?:\0[^\0]){3})/s.test(head);
}

/**
 * Comments may hold anything. A NUL elsewhere is not a typing mistake: it is another kind of file, or a crash left it
 * half written.
 */
function refuseBinary(bytes: Uint8Array): void {
  const text = Buffer.from(bytes).toString('latin1');
  const number = text
    .split(lineEnd)
    .findIndex((line) => line.includes('\0') && !/^(?:\xef\xbb\xbf)?[ \t\v\f]*#/.test(line));
  if (number !== -1) throw new Error(`it is not a text file (line ${number + 1} holds a NUL byte)`);
}
