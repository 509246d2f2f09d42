import type { RegistryTokens } from '../../auth/tokens/registry-tokens.ts';
import type { Principal } from '../../registry/principal.ts';
import type { CanonicalTarget } from '../../registry/target.ts';
import { formatScope, tokenPath, type Scope } from '../../registry/token-scope.ts';
import type { Policy } from '../../policy/decision.ts';
import { endAnswer } from '../error-response.ts';
import { recordPrincipal, type Exchange } from '../exchange.ts';
import type { RefusedBodies } from '../refused-bodies.ts';
import { createTokenOrders, type TokenOrderOptions } from './token-order.ts';

/** Answers a token request; false: it is not one. @throws OciError */
export type AnswerToken = (exchange: Exchange, target: CanonicalTarget) => Promise<boolean>;

export type TokenEndpointOptions = TokenOrderOptions & {
  readonly tokens: RegistryTokens;
  /** Whether refresh tokens are given. */
  readonly givesRefreshTokens: boolean;
  readonly policy: Policy;
  readonly refusedBodies: RefusedBodies;
};

/** Creates the answer to `GET /token` (distribution, "Token Authentication Specification") and `POST /token` ("OAuth2 Token Authentication"; RFC 6749). */
export function createTokenEndpoint(options: TokenEndpointOptions): AnswerToken {
  const { tokens, policy, refusedBodies } = options;
  const readOrder = createTokenOrders(options);

  return async (exchange, target) => {
    const { res, method } = exchange;
    if (target.rawPath !== tokenPath || (method !== 'GET' && method !== 'POST')) return false;
    exchange.routeKind = 'token';
    const { subject, scopes, wantsRefreshToken } = await readOrder(exchange, target);
    if (subject !== null) recordPrincipal(exchange, subject.principal);
    const principal = subject?.principal ?? policy.anonymousAt(exchange.clientAddress);
    const granted = cutToPolicy(nameOuter(scopes, exchange), policy, principal);
    const { token, lifetimeSeconds, issuedAt } = await tokens.issue(subject, granted);
    const refreshToken =
      subject?.principal.kind === 'user' && options.givesRefreshTokens && wantsRefreshToken
        ? { refresh_token: await tokens.issueRefresh(subject) }
        : {};
    if (res.destroyed) return true;
    sendAnswer(exchange, refusedBodies, {
      ...{ token, access_token: token, expires_in: lifetimeSeconds, issued_at: issuedAt },
      ...refreshToken,
      scope: granted.map(formatScope).join(' '),
    });
    return true;
  };
}

/**
 * dockerd asks a mirror for the scope of the name that it knows, whatever the challenge says; other clients for that of
 * the challenge.
 */
function nameOuter(scopes: readonly Scope[], { outerName }: Exchange): readonly Scope[] {
  if (outerName === null) return scopes;
  return scopes.flatMap((scope) =>
    scope.type === 'repository' ? [scope, { ...scope, name: outerName(scope.name) }] : [scope],
  );
}

/** The scopes that the policy allows now; it is checked again at each use. */
function cutToPolicy(scopes: readonly Scope[], policy: Policy, principal: Principal): Scope[] {
  return scopes.flatMap((scope) => {
    if (scope.type === 'registry') return [scope];
    const allowed: ReadonlySet<string> = policy.decide(principal, scope.name).actions;
    const actions = scope.actions.filter((action) => allowed.has(action));
    return actions.length === 0 ? [] : [{ ...scope, actions }];
  });
}

function sendAnswer(exchange: Exchange, refusedBodies: RefusedBodies, answer: object): void {
  const body = Buffer.from(JSON.stringify(answer));
  exchange.res.writeHead(200, {
    ...exchange.answerHeaders,
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    // RFC 6749 section 5.1
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  });
  endAnswer(exchange, refusedBodies, body);
}
