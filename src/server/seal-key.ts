import { hkdfSync, randomBytes } from 'node:crypto';

const keyBytes = 32;

/** A random secret; what is sealed with it is good as long as it is kept. */
export function createSealKey(): Buffer {
  return randomBytes(keyBytes);
}

/** The key for one use of a secret (RFC 5869), so that what is sealed for one is nothing to another; 32 bytes. */
export function deriveKey(sealKey: Buffer, use: string): Buffer {
  return Buffer.from(hkdfSync('sha256', sealKey, '', `tidegate ${use}`, keyBytes));
}
