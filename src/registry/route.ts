import { findNameFault, type NameFault } from './name-fault.ts';
import { repositoryNameForm } from './repository-name.ts';
import type { CanonicalTarget } from './target.ts';

/** What a request is, as far as deciding about it goes. */
export type Route =
  /** A path that needs no credentials, GET or HEAD. */
  | { readonly kind: 'open' }
  /** GET or HEAD of exactly `/v2/` (distribution-spec "end-1"). */
  | { readonly kind: 'version-check' }
  /** `/v2/<repository>/manifests/<reference>` (distribution-spec end-2, end-7, end-9). */
  | { readonly kind: 'manifest'; readonly repository: string; readonly reference: string }
  /** GET or HEAD of `/v2/<repository>/blobs/<algorithm>:<hex>` (distribution-spec end-2), in the one form that storage paths are made of. */
  | ({ readonly kind: 'blob' } & BlobName)
  /** It names something by what is no name: refused as soon as it is known who asks. */
  | { readonly kind: 'misnamed'; readonly fault: NameFault }
  /** Any other path of the registry: `/`, `/v1/…`, `/v2/…`. */
  | { readonly kind: 'registry'; readonly version: 'v1' | 'v2' | null }
  /** Outside the registry's URL space. */
  | { readonly kind: 'outside' };

/** A blob in a repository; every part is a name by the distribution-spec's grammar, and none can be a dot segment. */
export type BlobName = {
  readonly repository: string;
  readonly algorithm: 'sha256' | 'sha512';
  /** Lower case. */
  readonly hex: string;
};

/** With `s`, since "." would leave out U+2028 and U+2029, and a name with one of them would be no manifest's. */
const manifestPath = /^\/v2\/(.+)\/manifests\/([^/]+)$/s;
/** Digests: image-spec, "Registered algorithms". */
const blobPath = new RegExp(
  `^/v2/(${repositoryNameForm})/blobs/(?:sha256:([0-9a-f]{64})|sha512:([0-9a-f]{128}))$`,
);

/**
 * Names the route of a request. What passes without credentials is compared with the raw path, byte for byte;
 * everything that is only restricted by its route is compared after decoding, as upstream reads it.
 */
export function parseRoute(method: string, target: CanonicalTarget, openPaths: ReadonlySet<string>): Route {
  const reads = method === 'GET' || method === 'HEAD';
  if (reads && openPaths.has(target.rawPath)) return { kind: 'open' };
  if (reads && target.rawPath === '/v2/') return { kind: 'version-check' };
  const fault = findNameFault(target.path);
  if (fault !== null) return { kind: 'misnamed', fault };
  const manifest = manifestPath.exec(target.path);
  if (manifest?.[1] !== undefined && manifest[2] !== undefined) {
    return { kind: 'manifest', repository: manifest[1], reference: manifest[2] };
  }
  const blob = reads ? blobPath.exec(target.path) : null;
  if (blob !== null) {
    const [, repository = '', sha256 = '', sha512 = ''] = blob;
    return sha512 === ''
      ? { kind: 'blob', repository, algorithm: 'sha256', hex: sha256 }
      : { kind: 'blob', repository, algorithm: 'sha512', hex: sha512 };
  }
  if (target.path === '/') return { kind: 'registry', version: null };
  if (target.path === '/v2' || target.path.startsWith('/v2/')) return { kind: 'registry', version: 'v2' };
  if (target.path === '/v1' || target.path.startsWith('/v1/')) return { kind: 'registry', version: 'v1' };
  return { kind: 'outside' };
}
