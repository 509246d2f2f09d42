import type { MachineLogins } from '../../src/auth/machine-tokens/machine-logins.ts';
import type { TokenHolder } from '../../src/auth/tokens/registry-tokens.ts';
import { user } from './principals.ts';

/** For who has no machine tokens: each is unknown. */
export const noMachines: Pick<MachineLogins, 'check'> = {
  check: () => Promise.resolve({ kind: 'refused', reason: 'unknown-machine-token' }),
};

/** A user by the hash in his or her line; undefined: there is none. */
export const userHolder = (name: string, hash: string | undefined): TokenHolder | undefined =>
  hash === undefined ? undefined : { principal: user(name), hash, expiresMs: null };
