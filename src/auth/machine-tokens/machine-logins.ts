import type { MachineToken } from '../../registry/principal.ts';
import type { LoginThrottle } from '../throttle/login-throttle.ts';
import { hashMachineToken, isMachineToken } from './machine-token.ts';
import type { TokenEntry } from './token-list.ts';
import type { TokenListFile } from './token-list-file.ts';
import type { TokenUseRecorder } from './token-uses.ts';

/** Why a machine token was refused; for the log. */
export type MachineTokenFault =
  'malformed-machine-token' | 'unknown-machine-token' | 'expired-machine-token' | 'ownerless-machine-token';

export type MachineLogin =
  | { readonly kind: 'verified'; readonly principal: MachineToken }
  | {
      readonly kind: 'refused';
      readonly reason: MachineTokenFault;
      /** For the client, who has shown that it had the right token. */
      readonly sentence?: string;
    }
  | { readonly kind: 'locked-out'; readonly forMs: number };

/** A machine token that is good now, and what proves that it is the same as before. */
export type GoodToken = {
  readonly principal: MachineToken;
  readonly sha256: string;
  readonly expiresMs: number | null;
};

/** Checks machine tokens, and says which are good. */
export type MachineLogins = {
  /** Checks a password that begins as machine tokens do. Never rejects. */
  check(login: { name: string; token: string; address: string }): Promise<MachineLogin>;
  /** The token of this name, as long as it has not expired and has its owner. */
  find(name: string): GoodToken | undefined;
};

/** So often tokens that were good once count as a wrong one from their address, in milliseconds: machines do not know better. */
const endedCountsEveryMs = 60 * 60 * 1000;

/**
 * Creates what checks machine tokens. That costs a hash, and no lock-out keeps a right one out: 256 random bits are not guessed. Wrong ones
 * count by their address alone, since they say nothing of whose they are.
 *
 * @param options hasUser: whether there is a user of this name who can log in; now: milliseconds since 1970
 */
export function createMachineLogins(options: {
  tokens: Pick<TokenListFile, 'find' | 'findByHash' | 'hasHeardOf'>;
  hasUser: (name: string) => boolean;
  throttle: LoginThrottle;
  uses: Pick<TokenUseRecorder, 'note'>;
  logger: Record<'warn', (fields: object, message: string) => void>;
  now: () => number;
}): MachineLogins {
  const { tokens, hasUser, throttle, uses, logger, now } = options;

  const faultOf = ({ principal, expiresMs }: TokenEntry): MachineTokenFault | null => {
    if (expiresMs !== null && now() >= expiresMs) return 'expired-machine-token';
    const { owner } = principal.grant;
    return owner === null || hasUser(owner) ? null : 'ownerless-machine-token';
  };

  const { refuseEnded, refuseWrong } = createRefusals(tokens, throttle, logger);

  return {
    check: async (login) => {
      if (!isMachineToken(login.token)) return refuseWrong('malformed-machine-token', login, undefined);
      const entry = tokens.findByHash(hashMachineToken(login.token));
      if (entry?.principal.name !== login.name) return refuseWrong('unknown-machine-token', login, entry);
      const fault = faultOf(entry);
      if (fault !== null) return refuseEnded(entry, fault, login);
      uses.note(login.name, login.address);
      return { kind: 'verified', principal: entry.principal };
    },
    find: (name) => {
      const entry = tokens.find(name);
      return entry === undefined || faultOf(entry) !== null ? undefined : entry;
    },
  };
}

/** Creates what counts and logs refused tokens. */
function createRefusals(
  tokens: Pick<TokenListFile, 'hasHeardOf'>,
  throttle: LoginThrottle,
  logger: Record<'warn', (fields: object, message: string) => void>,
) {
  /** A right token that has ended: the sentence names it. */
  const refuseEnded = async (
    { principal: { name, grant }, expiresMs }: TokenEntry,
    reason: MachineTokenFault,
    { token, address }: { token: string; address: string },
  ): Promise<MachineLogin> => {
    const attempt = await throttle.begin({ address, name: null, password: token, hash: '', isUser: false });
    const sentence =
      reason === 'expired-machine-token'
        ? `The machine token ${name} expired at ${new Date(expiresMs ?? 0).toISOString()}: make another with tidegate token rotate ${name}.`
        : `The machine token ${name} has ended with its owner ${grant.owner ?? ''}, who is no user any more.`;
    if (await throttle.failed(attempt, endedCountsEveryMs))
      logger.warn({ client: address, token: name, reason }, sentence);
    return { kind: 'refused', reason, sentence };
  };

  /** A wrong one. What it was sent under is logged where that is the name of a token: else it may be a mistyped secret. */
  const refuseWrong = async (
    reason: MachineTokenFault,
    { name, token, address }: { name: string; token: string; address: string },
    entry: TokenEntry | undefined,
  ): Promise<MachineLogin> => {
    const attempt = await throttle.begin({ address, name: null, password: token, hash: '', isUser: false });
    if (throttle.lockedMs(attempt) > 0) {
      throttle.refused(attempt);
      return { kind: 'locked-out', forMs: throttle.lockedMs(attempt) };
    }
    const known = entry?.principal.name ?? (tokens.hasHeardOf(name) ? name : null);
    if (await throttle.failed(attempt))
      logger.warn({ client: address, token: known, reason }, describeWrong(reason, known, entry));
    return { kind: 'refused', reason };
  };

  return { refuseEnded, refuseWrong };
}

function describeWrong(
  reason: MachineTokenFault,
  name: string | null,
  entry: TokenEntry | undefined,
): string {
  const whose = name === null ? 'A machine token' : `A machine token for ${name}`;
  if (reason === 'malformed-machine-token') return `${whose} is malformed: it was cut short, or mistyped.`;
  if (entry !== undefined) return `The machine token ${entry.principal.name} was sent under another name.`;
  return `${whose} is none that is good: it was revoked or rotated, or never made here.`;
}
