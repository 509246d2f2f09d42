import { hkdfSync } from 'node:crypto';

/** Secrets that all who serve share; what is sealed is sealed with the first, and opened with any, so that they can be exchanged one after the other. */
export type Secrets = readonly [string | Buffer, ...(string | Buffer)[]];

/** The key for one use of a secret (RFC 5869), so that what is sealed for one is nothing to another; 32 bytes. */
export function deriveKey(secret: string | Buffer, use: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `tidegate ${use}`, 32));
}
