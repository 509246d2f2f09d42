import type { ServerResponse } from 'node:http';
import type { Authenticator } from '../../auth/authenticator.ts';
import { hasNoCredentials } from '../../auth/basic-credentials.ts';
import type { AnonymousAt } from '../../policy/decision.ts';
import { OciError } from '../../registry/error.ts';
import { headerValues } from '../../http/raw-headers.ts';
import type { Operation } from '../../registry/operation.ts';
import { anonymous, type Principal } from '../../registry/principal.ts';
import type { Scope } from '../../registry/token-scope.ts';
import {
  isChallenged,
  type VersionCheckAgents,
  type VersionCheckMode,
} from '../../registry/version-check.ts';
import { credentialsNeeded, type Challenge } from './challenge.ts';
import type { Exchange } from '../exchange.ts';

/** The result of authentication. */
export type Authentication = {
  readonly principal: Principal;
  /** No credentials, on a route that is not open to everyone: only a policy can allow it. */
  readonly isAnonymous: boolean;
  /** Whether the client's Authorization is forwarded to upstream. */
  readonly keepAuthorization: boolean;
  /** The scopes of the request's token; null: no token, so only the policy decides. */
  readonly scopes: readonly Scope[] | null;
  /** Names the token that the request came with; undefined: it came with none. */
  readonly tokenId?: string;
};

export type AuthenticateOptions = VersionCheckAgents & {
  readonly authenticator: Authenticator;
  readonly challenge: Challenge;
  /** Whom the policy decides about where there are no credentials; null: such a request is refused. */
  readonly anonymousAt: AnonymousAt | null;
  /** The delay of the answer to a locked-out attempt, in milliseconds. */
  readonly lockedOutDelayMs: number;
  readonly versionCheck: VersionCheckMode;
};

const everyone: Authentication = {
  principal: anonymous,
  isAnonymous: false,
  keepAuthorization: false,
  scopes: null,
};

/** Authenticates a request. @throws OciError UNAUTHORIZED, TOOMANYREQUESTS, or UNAVAILABLE when undecided. */
export type Authenticate = (
  exchange: Exchange,
  operation: Pick<Operation, 'kind'>,
  /** The values of Authorization; those of the request when left out. */
  authorization?: readonly string[],
) => Promise<Authentication>;

/** Creates the authentication stage. */
export function createAuthenticate(options: AuthenticateOptions): Authenticate {
  const { authenticator, challenge, anonymousAt } = options;
  return async (
    exchange,
    operation,
    authorization = headerValues(exchange.req.rawHeaders, 'authorization'),
  ) => {
    if (operation.kind === 'open') {
      const keepAuthorization = authorization.length === 1 && /^token\s/i.test(authorization[0] ?? '');
      return { ...everyone, keepAuthorization };
    }
    if (operation.kind === 'version-check') {
      if (options.versionCheck === 'open') return everyone;
      const { method, userAgent } = exchange;
      const isAsked = isChallenged(options.versionCheck, method, userAgent, options);
      if (!isAsked && hasNoCredentials(authorization)) {
        Object.assign(exchange.answerHeaders, challenge(exchange));
        return everyone;
      }
    }
    const result = await authenticator.authenticate(authorization, exchange.clientAddress);
    switch (result.kind) {
      case 'verified':
        return {
          principal: result.principal,
          isAnonymous: false,
          keepAuthorization: result.scheme === 'token',
          scopes: null,
        };
      case 'anonymous':
        if (anonymousAt !== null && operation.kind !== 'version-check')
          return { ...everyone, principal: anonymousAt(exchange.clientAddress), isAnonymous: true };
        exchange.reason = 'no-credentials';
        throw credentialsNeeded(challenge(exchange));
      case 'locked-out':
        return refuseLockedOut(exchange, result.forMs, options.lockedOutDelayMs);
      case 'refused':
        exchange.reason = result.reason;
        throw wrongCredentials(challenge(exchange), result.sentence);
    }
  };
}

/** The 401 for wrong credentials. */
export function wrongCredentials(challengeFields: Record<string, string>, sentence?: string): OciError {
  return new OciError(
    'UNAUTHORIZED',
    sentence ??
      'The credentials are wrong, or not of a kind that is accepted here (Basic: a name and a password).',
    { headers: challengeFields },
  );
}

/** Refuses a locked-out client after a delay. @throws OciError TOOMANYREQUESTS, always */
export async function refuseLockedOut(exchange: Exchange, forMs: number, delayMs: number): Promise<never> {
  exchange.reason = 'locked-out';
  await holdBack(exchange.res, delayMs);
  throw lockedOut(forMs - delayMs);
}

/** Waits for this time, or until the client leaves. */
async function holdBack(res: ServerResponse, delayMs: number): Promise<void> {
  if (delayMs === 0 || res.destroyed) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, delayMs);
    res.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function lockedOut(forMs: number): OciError {
  const seconds = Math.max(1, Math.ceil(forMs / 1000));
  return new OciError(
    'TOOMANYREQUESTS',
    `Too many wrong passwords were sent from this address or under this name: try again in ${seconds} seconds.`,
    { headers: { 'Retry-After': String(seconds) } },
  );
}
