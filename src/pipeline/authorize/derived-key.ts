import { hkdfSync } from 'node:crypto';

/** Secrets that all processes share. The first seals, and any opens, so that they can be rotated. */
export type Secrets = readonly [string | Buffer, ...(string | Buffer)[]];

/** Derives the key for one use of a secret (RFC 5869), so that data sealed for one use is invalid for another; 32 bytes. */
export function deriveKey(secret: string | Buffer, use: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `tidegate ${use}`, 32));
}
