import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Authenticator } from '../../auth/authenticator.ts';
import { changeHash, checkNewPassword, UserChangedError } from '../../auth/htpasswd/htpasswd-editor.ts';
import { parsePasswordHash } from '../../auth/password/password-hash.ts';
import type { PasswordPool } from '../../auth/password/password-pool.ts';
import { OciError } from '../../registry/error.ts';
import type { User } from '../../registry/principal.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { untilInEffect } from './in-effect.ts';

export const minPasswordLength = 10;
const minCost = 10;

export type PasswordFault = 'wrong' | 'differ' | 'short' | 'long' | 'unfit' | 'busy';

/** Lets users change their own password. */
export type OwnPassword = {
  /** Whether the htpasswd file can be written. */
  canChange(): Promise<boolean>;
  /** Null: it is changed. `wrong`, too, when somebody else was faster. @throws OperatorError when the file cannot be changed */
  change(user: User, form: PasswordForm): Promise<PasswordFault | null>;
};

export type PasswordForm = {
  readonly current: string;
  readonly next: string;
  readonly repeated: string;
  /** Under which a wrong one counts. */
  readonly address: string;
};

export function createOwnPassword(options: {
  file: string;
  authenticator: Pick<Authenticator, 'authenticate' | 'hashOf'>;
  pool: Pick<PasswordPool, 'hash'>;
  /** The hash of a user that is in effect in this process. */
  presentHash: (name: string) => string | undefined;
}): OwnPassword {
  const { file, authenticator, pool, presentHash } = options;

  /** The hash that the present password was verified against. */
  const verify = async (
    { name }: User,
    { current, address }: PasswordForm,
  ): Promise<{ hash: string } | PasswordFault> => {
    const credentials = `Basic ${Buffer.from(`${name}:${current}`).toString('base64')}`;
    const result = await authenticator.authenticate([credentials], address);
    if (result.kind === 'locked-out') return 'busy';
    if (result.kind !== 'verified' || result.principal.kind !== 'user') return 'wrong';
    const hash = authenticator.hashOf(result.principal);
    return hash === undefined ? 'wrong' : { hash };
  };

  return {
    canChange: async () => (await canWrite(dirname(file))) || (await canWrite(file)),
    change: async (user, form) => {
      const fault = findFault(form);
      if (fault !== null) return fault;
      try {
        const verified = await verify(user, form);
        if (typeof verified === 'string') return verified;
        const hash = await pool.hash(form.next, costOf(verified.hash));
        await changeHash({ file, name: user.name, hash, isStill: (present) => present === verified.hash });
        await untilInEffect(() => presentHash(user.name) === hash);
        return null;
      } catch (error) {
        if (error instanceof OciError && error.status === 503) return 'busy';
        if (error instanceof UserChangedError) return 'wrong';
        throw error;
      }
    },
  };
}

function findFault({ next, repeated }: PasswordForm): PasswordFault | null {
  if (next !== repeated) return 'differ';
  if (next.length < minPasswordLength) return 'short';
  if (Buffer.byteLength(next) > 72) return 'long';
  try {
    checkNewPassword(next);
    return null;
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return 'unfit';
  }
}

/** As dear as the present one, and never cheaper than a new one by command. */
function costOf(hash: string): number {
  const parsed = parsePasswordHash(hash);
  return parsed?.kind === 'bcrypt' ? Math.max(parsed.cost, minCost) : minCost;
}

async function canWrite(path: string): Promise<boolean> {
  try {
    await access(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
