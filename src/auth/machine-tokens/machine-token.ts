import { hash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** What every machine token begins with, and no password may: so scanners for secrets find one, and htpasswd never sees one. */
export const tokenPrefix = 'tidegate_';

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const secretBytes = 32;
/** As many digits to base 62 as 256 bits have, and 32 bits. */
const secretDigits = 43;
const checksumDigits = 6;
const form = new RegExp(`^${tokenPrefix}([0-9A-Za-z]{${secretDigits}})([0-9A-Za-z]{${checksumDigits}})$`);

/** Makes a token: the prefix, 256 random bits and their CRC-32, both to base 62. */
export function createMachineToken(): string {
  const secret = toBase62(BigInt(`0x${randomBytes(secretBytes).toString('hex')}`), secretDigits);
  return tokenPrefix + secret + checksumOf(secret);
}

/** Whether a text can be a token: its form and its checksum are right. */
export function isMachineToken(text: string): boolean {
  const [, secret = '', checksum] = form.exec(text) ?? [];
  return checksum !== undefined && checksum === checksumOf(secret);
}

/** What is kept of a token: SHA-256 of its text, in hexadecimal digits. */
export function hashMachineToken(token: string): string {
  return hash('sha256', token, 'hex');
}

function checksumOf(secret: string): string {
  return toBase62(BigInt(crc32(secret)), checksumDigits);
}

function toBase62(value: bigint, length: number): string {
  let text = '';
  for (let rest = value; rest > 0n; rest /= 62n) text = (digits[Number(rest % 62n)] ?? '') + text;
  return text.padStart(length, '0');
}
