import type { RegistryTokens } from '../../auth/tokens/registry-tokens.ts';
import { accessOf } from '../../registry/access.ts';
import { OciError } from '../../registry/error.ts';
import { headerValues } from '../../http/raw-headers.ts';
import type { VersionCheckMode } from '../../registry/version-check.ts';
import { coversPermission } from '../../registry/token-scope.ts';
import type { Authentication, Authenticate } from './authenticate.ts';
import type { Authorize } from '../authorize/authorize.ts';
import { credentialsNeeded, type Challenge } from './challenge.ts';

/** RFC 6750 section 2.1. */
const bearerForm = /^bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i;
const bearerScheme = /^bearer(?: |$)/i;

/** Authenticates by token; requests without one go to `authenticate`. */
export function authenticateTokens(
  authenticate: Authenticate,
  {
    tokens,
    challenge,
    allowsAnonymous,
    versionCheck,
  }: {
    tokens: Pick<RegistryTokens, 'verify'>;
    challenge: Challenge;
    /** Whether a policy decides about anonymous clients; otherwise they are refused. */
    allowsAnonymous: boolean;
    versionCheck: VersionCheckMode;
  },
): Authenticate {
  return async (
    exchange,
    operation,
    authorization = headerValues(exchange.req.rawHeaders, 'authorization'),
  ): Promise<Authentication> => {
    const [value = '', ...others] = authorization;
    const isOpen =
      operation.kind === 'open' || (operation.kind === 'version-check' && versionCheck === 'open');
    if (others.length > 0 || isOpen || !bearerScheme.test(value))
      return authenticate(exchange, operation, authorization);
    const token = bearerForm.exec(value)?.[1];
    const found = token === undefined ? 'malformed' : await tokens.verify(token);
    if (typeof found === 'string') {
      exchange.reason = found;
      const sentence = 'The token has expired, or is not valid here: fetch another, or log in again.';
      throw new OciError('UNAUTHORIZED', sentence, { headers: challenge(exchange, 'invalid_token') });
    }
    const { principal, scopes } = found;
    const authentication = { principal, isAnonymous: false, keepAuthorization: false, scopes };
    if (principal.kind !== 'anonymous' || operation.kind === 'version-check') return authentication;
    if (allowsAnonymous) return { ...authentication, isAnonymous: true };
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
