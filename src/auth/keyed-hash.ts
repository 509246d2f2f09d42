import { hash, randomBytes } from 'node:crypto';

/** SHA-256's block, in bytes. */
const blockBytes = 64;

/** Creates a random key of one block with bytes below 0x80, so that each stays one byte in a text. */
export function createHashKey(): Buffer {
  return Buffer.from(randomBytes(blockBytes).map((byte) => byte & 0x7f));
}

/**
 * Creates HMAC-SHA256 (RFC 2104 section 2) under a random key, in base64; of two one-shot hashes, which is half the work
 * that an Hmac object is.
 *
 * @param key 64 bytes below 0x80
 */
export function createKeyedHash(key: Buffer = createHashKey()): (text: string) => string {
  const inner = Buffer.from(key.map((byte) => byte ^ 0x36)).toString('latin1');
  const outer = Buffer.concat([key.map((byte) => byte ^ 0x5c), Buffer.alloc(32)]);
  return (text) => {
    outer.write(hash('sha256', inner + text, 'binary'), blockBytes, 'binary');
    return hash('sha256', outer, 'base64');
  };
}
