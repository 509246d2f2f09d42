import type { CanonicalTarget } from './target.ts';

/** What a request is, as far as deciding about it goes. */
export type Route =
  /** A path that needs no credentials, GET or HEAD. */
  | { readonly kind: 'open' }
  /** GET or HEAD of exactly `/v2/` (distribution-spec "end-1"). */
  | { readonly kind: 'version-check' }
  /** `/v2/<repository>/manifests/<reference>` (distribution-spec end-2, end-7, end-9). */
  | { readonly kind: 'manifest'; readonly repository: string; readonly reference: string }
  /** Any other path of the registry: `/`, `/v1/…`, `/v2/…`. */
  | { readonly kind: 'registry'; readonly version: 'v1' | 'v2' | null }
  /** Outside the registry's URL space. */
  | { readonly kind: 'outside' };

const manifestPath = /^\/v2\/(.+)\/manifests\/([^/]+)$/;

/**
 * Names the route of a request. What passes without credentials is compared with the raw path, byte for byte;
 * everything that is only restricted by its route is compared after decoding, as upstream reads it.
 */
export function parseRoute(method: string, target: CanonicalTarget, openPaths: ReadonlySet<string>): Route {
  const reads = method === 'GET' || method === 'HEAD';
  if (reads && openPaths.has(target.rawPath)) return { kind: 'open' };
  if (reads && target.rawPath === '/v2/') return { kind: 'version-check' };
  const manifest = manifestPath.exec(target.path);
  if (manifest?.[1] !== undefined && manifest[2] !== undefined) {
    return { kind: 'manifest', repository: manifest[1], reference: manifest[2] };
  }
  if (target.path === '/') return { kind: 'registry', version: null };
  if (target.path === '/v2' || target.path.startsWith('/v2/')) return { kind: 'registry', version: 'v2' };
  if (target.path === '/v1' || target.path.startsWith('/v1/')) return { kind: 'registry', version: 'v1' };
  return { kind: 'outside' };
}
