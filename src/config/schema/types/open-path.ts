import { listOf } from './key-type.ts';

/** Exact paths that need no credentials; never one of the registry API, where each object has an owner. */
export function openPaths() {
  return listOf(
    findFault,
    'a list of exact absolute paths outside /v2/, without %, //, dot segments, query or comma',
  );
}

function findFault(path: string): string | undefined {
  const shown = JSON.stringify(path);
  if (!path.startsWith('/')) return `${shown} does not start with /`;
  if (path.includes('?') || path.includes('#')) return `${shown} must not hold a query or a fragment`;
  if (path.includes('%')) return `${shown} must not be percent-encoded`;
  // The unreserved and sub-delimiter characters of RFC 3986 section 3.3, without the comma that parts a list.
  if (!/^[A-Za-z0-9._~!$&'()*+;=:@/-]+$/.test(path)) return `${shown} holds a character that is not allowed`;
  if (path.includes('//')) return `${shown} must not hold //`;
  if (/\/\.{1,2}(\/|$)/.test(path)) return `${shown} must not hold a dot segment`;
  if (/^\/v2(\/|$)/i.test(path)) {
    return `${shown} is part of the registry's API, which is never open (for /v2/ itself see auth.versionCheck)`;
  }
  return undefined;
}
