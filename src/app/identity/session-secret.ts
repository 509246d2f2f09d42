import { randomBytes } from 'node:crypto';

/**
 * Creates the secret for data that is sealed for clients. All workers share it, since a client may return it to any of
 * them.
 */
export function createSessionSecret(): Buffer {
  return randomBytes(32);
}
