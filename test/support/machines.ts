import type { MachineLogins } from '../../src/auth/machine-tokens/machine-logins.ts';
import type { TokenHolder } from '../../src/auth/tokens/registry-tokens.ts';
import { user } from './principals.ts';

/** No machine tokens: each one is unknown. */
export const noMachines: Pick<MachineLogins, 'check'> = {
  check: () => Promise.resolve({ kind: 'refused', reason: 'unknown-machine-token' }),
};

/** Finds a user by the hash in the htpasswd line; undefined: none. */
export const userHolder = (name: string, hash: string | undefined): TokenHolder | undefined =>
  hash === undefined ? undefined : { principal: user(name), hash, expiresMs: null };
