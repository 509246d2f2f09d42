import { randomBytes } from 'node:crypto';

/** Makes the key of what is sealed for clients, who bring it back to whichever process answers them: all that serve together share it. */
export function createSessionSecret(): Buffer {
  return randomBytes(32);
}
