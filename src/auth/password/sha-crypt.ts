import { createHash } from 'node:crypto';
import { encodeCryptBase64 } from './crypt-base64.ts';

/** Which of the two: SHA-256-crypt is written `$5$`, SHA-512-crypt `$6$`. */
export type ShaCryptDigest = 'sha256' | 'sha512';

/**
 * SHA-crypt as Ulrich Drepper specified it ("Unix crypt using SHA-256 and SHA-512", version 0.6); step numbers are his.
 *
 * @param salt at most 16 characters
 * @param rounds 1000 to 999999999
 * @returns the 43 (sha256) or 86 (sha512) characters after the last `$`
 */
export function shaCrypt(algorithm: ShaCryptDigest, password: string, salt: string, rounds: number): string {
  const hash = (parts: readonly Uint8Array[]) => createHash(algorithm).update(Buffer.concat(parts)).digest();
  const key = Buffer.from(password);
  const saltBytes = Buffer.from(salt);
  const digestB = hash([key, saltBytes, key]); // steps 4–8
  const partsA: Uint8Array[] = [key, saltBytes, repeatTo(digestB, key.length)]; // 9, 10
  for (let bits = key.length; bits > 0; bits >>= 1) partsA.push(bits & 1 ? digestB : key); // 11
  let digest = hash(partsA); // 12
  const sequenceP = repeatTo(hash(new Array<Buffer>(key.length).fill(key)), key.length); // 13–16
  const repeats = 16 + digest.readUInt8(0);
  const sequenceS = repeatTo(hash(new Array<Buffer>(repeats).fill(saltBytes)), saltBytes.length); // 17–20
  for (let round = 0; round < rounds; round++) {
    const parts: Uint8Array[] = [round & 1 ? sequenceP : digest];
    if (round % 3 !== 0) parts.push(sequenceS);
    if (round % 7 !== 0) parts.push(sequenceP);
    parts.push(round & 1 ? digest : sequenceP);
    digest = hash(parts);
  }
  return encode(digest);
}

function repeatTo(bytes: Buffer, length: number): Buffer {
  return Buffer.alloc(length, bytes);
}

/** Step 22: the bytes go out in triples, each index the former's plus `step`, modulo the bytes in whole triples. */
function encode(digest: Buffer): string {
  const [whole, step] = digest.length === 32 ? [30, 21] : [63, 22];
  const third = whole / 3;
  let text = '';
  for (let i = 0, first = 0; i < third; i++, first = (first + step) % whole) {
    const byte = (offset: number) => digest.readUInt8((first + offset) % whole);
    text += encodeCryptBase64(byte(0), byte(third), byte(2 * third), 4);
  }
  return digest.length === 32
    ? text + encodeCryptBase64(0, digest.readUInt8(31), digest.readUInt8(30), 3)
    : text + encodeCryptBase64(0, 0, digest.readUInt8(63), 2);
}
