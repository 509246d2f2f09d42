import { parseAccess, type Need } from '../../registry/access.ts';
import { parseMount } from '../../registry/mount.ts';
import { isRepositoryName } from '../../registry/repository-name.ts';
import { parseRoute } from '../../registry/route.ts';
import { parseTarget } from '../../registry/target.ts';
import { formatScope, scopeOf, tokenPath } from '../../registry/token-scope.ts';
import { hostPattern } from '../../http/web-address.ts';
import type { Challenge } from './challenge.ts';

/**
 * Asks for a token (distribution, "Token Authentication Specification"; RFC 6750 section 3) where registry clients ask for
 * something, under /v2/; elsewhere, and to a client that does not say by which name it came, the challenge is `basic`.
 */
export function createBearerChallenge(service: string, basic: Challenge): Challenge {
  return (exchange, fault) => {
    const { method, rawTarget } = exchange;
    const { scheme, authority } = exchange.publicName;
    const isAsked = /^\/v2(?:[/?]|$)/.test(rawTarget);
    // What stands between quotes must not end them; a request with such a Host has been refused before.
    if (!isAsked || authority === null || !hostPattern.test(authority)) return basic(exchange, fault);
    const scope = findNeeds(method, rawTarget).map(scopeOf).map(formatScope).join(' ');
    const fields = [`realm="${scheme}://${authority}${tokenPath}"`, `service="${service}"`];
    if (scope !== '') fields.push(`scope="${scope}"`);
    if (fault !== undefined) fields.push(`error="${fault}"`);
    return { 'WWW-Authenticate': `Bearer ${fields.join(',')}` };
  };
}

const noPaths: ReadonlySet<string> = new Set();

/** All that a request needs in repositories, a mount's source included. */
function findNeeds(method: string, rawTarget: string): Need[] {
  const target = parseTarget(rawTarget);
  const access = parseAccess(method, parseRoute(method, target, noPaths), target);
  if (access?.kind !== 'repository') return [];
  const from = access.upload === 'start' ? (parseMount(target)?.from ?? null) : null;
  const source: Need[] =
    from !== null && isRepositoryName(from) ? [{ repository: from, action: 'pull' }] : [];
  return [{ repository: access.repository, action: access.action }, ...source];
}
