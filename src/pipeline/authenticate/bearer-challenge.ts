import { accessOf, type Permission } from '../../registry/access.ts';
import type { Operation } from '../../registry/operation.ts';
import { isRepositoryName } from '../../registry/names/repository-name.ts';
import { formatScope, scopeOf, tokenPath } from '../../registry/token-scope.ts';
import { hostPattern } from '../../http/web-address.ts';
import type { Challenge } from './challenge.ts';

/**
 * Challenges for a token (distribution, "Token Authentication Specification"; RFC 6750 section 3) under /v2/, where
 * registry clients send requests. Elsewhere, and without a known host name, the challenge is `basic`.
 */
export function createBearerChallenge(service: string, basic: Challenge): Challenge {
  return (exchange, fault) => {
    const { operation } = exchange;
    const { scheme, authority } = exchange.publicName;
    // A quoted string must not contain quotes; a request with such a Host has been refused before.
    if (operation === null || !isOfV2(operation) || authority === null || !hostPattern.test(authority))
      return basic(exchange, fault);
    const scope = findPermissions(operation).map(scopeOf).map(formatScope).join(' ');
    const fields = [`realm="${scheme}://${authority}${tokenPath}"`, `service="${service}"`];
    if (scope !== '') fields.push(`scope="${scope}"`);
    if (fault !== undefined) fields.push(`error="${fault}"`);
    return { 'WWW-Authenticate': `Bearer ${fields.join(',')}` };
  };
}

function isOfV2(operation: Operation): boolean {
  switch (operation.kind) {
    case 'misnamed':
    case 'unknown':
      return operation.space === 'v2';
    case 'open':
    case 'root':
    case 'console':
    case 'outside':
    case 'v1-login':
    case 'v1-search':
    case 'v1-image':
    case 'v1-repository':
      return false;
    default:
      return true;
  }
}

/** The permissions that a request needs, including a mount's source. */
function findPermissions(operation: Operation): Permission[] {
  const access = accessOf(operation);
  if (access?.kind !== 'repository') return [];
  const from = operation.kind === 'upload-start' ? (operation.mount?.from ?? null) : null;
  const source: Permission[] =
    from !== null && isRepositoryName(from) ? [{ repository: from, action: 'pull' }] : [];
  return [{ repository: access.repository, action: access.action }, ...source];
}
