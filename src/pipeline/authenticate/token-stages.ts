import type { RegistryTokens, VerifiedToken } from '../../auth/tokens/registry-tokens.ts';
import type { AnonymousAt } from '../../policy/decision.ts';
import { accessOf } from '../../registry/access.ts';
import { OciError } from '../../registry/error.ts';
import { headerValues } from '../../http/raw-headers.ts';
import type { Operation } from '../../registry/operation.ts';
import type { VersionCheckMode } from '../../registry/version-check.ts';
import { parseTarget } from '../../registry/target.ts';
import { coversPermission } from '../../registry/token-scope.ts';
import type { Authentication, Authenticate } from './authenticate.ts';
import type { Authorize } from '../authorize/authorize.ts';
import type { UploadOrigin, UploadOwners } from '../authorize/upload-owners.ts';
import type { Exchange } from '../exchange.ts';
import { credentialsNeeded, type Challenge } from './challenge.ts';

/** RFC 6750 section 2.1. */
export const bearerForm = /^bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i;
const bearerScheme = /^bearer(?: |$)/i;
/** The methods by which an upload goes on with an expired token. */
const graceMethods: ReadonlySet<string> = new Set(['PATCH', 'PUT', 'GET']);

/** Whether everyone may pass, whatever the credentials. */
export function isOpen({ kind }: Pick<Operation, 'kind'>, versionCheck: VersionCheckMode): boolean {
  return kind === 'open' || (kind === 'version-check' && versionCheck === 'open');
}

/** Authenticates by token; requests without one go to `authenticate`. */
export function authenticateTokens(
  authenticate: Authenticate,
  {
    tokens,
    challenge,
    anonymousAt,
    versionCheck,
    uploads,
  }: {
    tokens: Pick<RegistryTokens, 'verify' | 'verifyExpired'>;
    challenge: Challenge;
    /** Whom the policy decides about when a token is for no principal; null: such a request is refused. */
    anonymousAt: AnonymousAt | null;
    versionCheck: VersionCheckMode;
    uploads: Pick<UploadOwners, 'isInGrace'>;
  },
): Authenticate {
  /** Takes an expired token for what goes on with the upload that it began; null: the request is anything else. */
  const verifyInGrace = async (token: string, exchange: Exchange): Promise<VerifiedToken | null> => {
    const { operation } = exchange;
    if (operation?.kind !== 'upload-session' || !graceMethods.has(operation.method)) return null;
    const expired = await tokens.verifyExpired(token);
    if (expired === null) return null;
    const target = parseTarget(exchange.outerTarget);
    if (!uploads.isInGrace(target, expired.principal, expired.id)) return null;
    exchange.reason = 'upload-grace';
    return expired;
  };

  return async (
    exchange,
    operation,
    authorization = headerValues(exchange.req.rawHeaders, 'authorization'),
  ): Promise<Authentication> => {
    const [value = '', ...others] = authorization;
    if (others.length > 0 || isOpen(operation, versionCheck) || !bearerScheme.test(value))
      return authenticate(exchange, operation, authorization);
    const token = bearerForm.exec(value)?.[1];
    const now = token === undefined ? 'malformed' : await tokens.verify(token);
    const inGrace =
      token !== undefined && now === 'expired-token' ? await verifyInGrace(token, exchange) : null;
    const found = inGrace ?? now;
    if (typeof found === 'string') {
      exchange.reason = found;
      const sentence = 'The token has expired, or is not valid here: fetch another, or log in again.';
      throw new OciError('UNAUTHORIZED', sentence, { headers: challenge(exchange, 'invalid_token') });
    }
    const { principal, scopes, id } = found;
    const authentication = { principal, isAnonymous: false, keepAuthorization: false, scopes, tokenId: id };
    if (principal.kind !== 'anonymous' || operation.kind === 'version-check') return authentication;
    if (anonymousAt !== null)
      return { ...authentication, principal: anonymousAt(exchange.clientAddress), isAnonymous: true };
    exchange.reason = 'no-credentials';
    throw credentialsNeeded(challenge(exchange));
  };
}

/** Restricts tokens to their scopes, besides the policy: `authorize` decides first. */
export function authorizeTokens(authorize: Authorize, { challenge }: { challenge: Challenge }): Authorize {
  return (exchange, operation, target, authentication) => {
    const authorized = authorize(exchange, operation, target, authentication);
    const { scopes } = authentication;
    if (scopes === null) return authorized;
    const access = accessOf(operation);
    switch (access?.kind) {
      case 'free':
      case 'catalog':
      case 'search':
        return authorized;
      case 'repository': {
        if (!coversPermission(scopes, access)) {
          exchange.reason = 'insufficient-scope';
          const sentence = `The token does not allow you to ${access.action} ${access.repository}: fetch another for that.`;
          throw new OciError('UNAUTHORIZED', sentence, {
            headers: challenge(exchange, 'insufficient_scope'),
          });
        }
        if (operation.kind !== 'upload-start') return authorized;
        const { mount } = operation;
        const from = mount?.from ?? null;
        const keeps =
          mount === null || (from !== null && coversPermission(scopes, { repository: from, action: 'pull' }));
        return {
          ...authorized,
          rawTarget: keeps ? authorized.rawTarget : mount.rawTargetWithout,
          hidesForm: true,
        };
      }
      case 'all-repositories':
      case undefined:
        exchange.reason = 'denied-unknown-request';
        throw new OciError('DENIED', 'A token cannot allow this request: send name and password.');
    }
  };
}

/**
 * Where no policy does it: marks an upload that begins with a token, so that it may go on after the token's end. Anybody
 * may continue it with credentials that are good, as ever; upstream sees no mark.
 * @param marks whether uploads may outlast their tokens
 */
export function markUploads(
  authorize: Authorize,
  { uploads, marks }: { uploads: UploadOwners; marks: boolean },
): Authorize {
  return (exchange, operation, target, authentication) => {
    const authorized = authorize(exchange, operation, target, authentication);
    // The open policy of machine tokens has marked it.
    if (authorized.editLocation !== undefined) return authorized;
    const { principal, tokenId } = authentication;
    const markAs = (origin: UploadOrigin) => (location: string) =>
      uploads.mark(location, target.rawPath, principal, origin);
    if (operation.kind === 'upload-start' && marks && tokenId !== undefined)
      return Object.assign({}, authorized, { editLocation: markAs(uploads.begin(tokenId)) });
    if (operation.kind !== 'upload-session' || !operation.hasQuery) return authorized;
    const unmarked = uploads.unmark(target, principal);
    if (unmarked === null) return { ...authorized, rawTarget: uploads.strip(target) };
    const { rawTarget, origin } = unmarked;
    const editLocation = marks ? markAs(origin) : undefined;
    return Object.assign({}, authorized, { rawTarget, editLocation });
  };
}
