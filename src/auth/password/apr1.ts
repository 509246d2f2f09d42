import { createHash } from 'node:crypto';
import { encodeCryptBase64 } from './crypt-base64.ts';

const md5 = (...parts: Uint8Array[]) => createHash('md5').update(Buffer.concat(parts)).digest();

/**
 * Apache's own MD5 password hash, what a plain `htpasswd` writes (apr_md5_encode in APR).
 *
 * @param salt at most 8 characters
 * @returns the 22 characters after `$apr1$salt$`
 */
export function apr1(password: string, salt: string): string {
  const key = Buffer.from(password);
  const saltBytes = Buffer.from(salt);
  const inner = md5(key, saltBytes, key);
  const start: Uint8Array[] = [key, Buffer.from('$apr1$'), saltBytes];
  for (let left = key.length; left > 0; left -= 16) start.push(inner.subarray(0, Math.min(16, left)));
  // A zero byte for each set bit, the first byte of the password for each clear one: an error of the original, kept for
  // compatibility.
  for (let bits = key.length; bits > 0; bits >>= 1)
    start.push(bits & 1 ? Buffer.alloc(1) : key.subarray(0, 1));
  let digest = md5(...start);
  for (let round = 0; round < 1000; round++) {
    const parts: Uint8Array[] = [round & 1 ? key : digest];
    if (round % 3 !== 0) parts.push(saltBytes);
    if (round % 7 !== 0) parts.push(key);
    parts.push(round & 1 ? digest : key);
    digest = md5(...parts);
  }
  return encode(digest);
}

function encode(digest: Buffer): string {
  let text = '';
  for (let i = 0; i < 5; i++) {
    text += encodeCryptBase64(
      digest.readUInt8(i),
      digest.readUInt8(i + 6),
      digest.readUInt8(i === 4 ? 5 : i + 12),
      4,
    );
  }
  return text + encodeCryptBase64(0, 0, digest.readUInt8(11), 2);
}
