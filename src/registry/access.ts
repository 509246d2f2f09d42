import type { Operation, V1Part } from './operation.ts';
import { isRepositoryName } from './names/repository-name.ts';

/** An action in a repository. */
export type Action = 'pull' | 'push' | 'delete';

/** A permission that a request needs. */
export type Permission = { readonly repository: string; readonly action: Action };

/** What a request needs of the policy. */
export type Access =
  /** No permission: the version check, open paths, and the login of v1 clients. */
  | { readonly kind: 'free' }
  /** The names of all repositories; the answer is cut down to those that may be pulled. */
  | { readonly kind: 'catalog' | 'search' }
  /** A v1 request that names no repository: allowed to those who may do this in all of them. */
  | { readonly kind: 'all-repositories'; readonly action: Action }
  | {
      readonly kind: 'repository';
      readonly repository: string;
      readonly action: Action;
      /** `start`: begins an upload; `session`: continues one, asks for its state, or ends it. */
      readonly upload: 'start' | 'session' | null;
    };

type Methods = Readonly<Partial<Record<string, Action>>>;

const reading: Methods = { GET: 'pull', HEAD: 'pull' };
const manifest: Methods = { ...reading, PUT: 'push', DELETE: 'delete' };
const blob: Methods = { ...reading, DELETE: 'delete' };
const uploadStart: Methods = { POST: 'push' };
const uploadSession: Methods = { GET: 'push', HEAD: 'push', PATCH: 'push', PUT: 'push', DELETE: 'push' };

const v1Methods: Readonly<Partial<Record<V1Part, Methods>>> = {
  '': { PUT: 'push', DELETE: 'delete' },
  tags: { ...reading, DELETE: 'delete' },
  'tags/TAG': manifest,
  'tags/TAG/json': reading,
  images: { ...reading, PUT: 'push' },
  auth: { PUT: 'push' },
  properties: { ...reading, PUT: 'push' },
  json: reading,
};
const v1ImageParts: ReadonlySet<string> = new Set(['json', 'layer', 'ancestry', 'checksum', 'files', 'diff']);
const v1Image: Methods = { ...reading, PUT: 'push' };

/**
 * Maps every request of distribution-spec 1.1, Docker's v2 API and the v1 protocol to what it needs; a mount's source
 * is added elsewhere. Null: it is none of these requests.
 */
export function accessOf(operation: Operation): Access | null {
  const { method, reads } = operation;
  switch (operation.kind) {
    case 'open':
    case 'version-check':
      return { kind: 'free' };
    case 'root':
    case 'v1-login':
      return reads ? { kind: 'free' } : null;
    case 'catalog':
      return reads ? { kind: 'catalog' } : null;
    case 'v1-search':
      return reads ? { kind: 'search' } : null;
    case 'manifest':
      return inRepository(operation.repository, manifest[method]);
    case 'blob':
      return operation.digest === null ? null : inRepository(operation.repository, blob[method]);
    case 'upload-start':
      return inRepository(operation.repository, uploadStart[method], 'start');
    case 'upload-session':
      if (operation.session === null) return null;
      return inRepository(operation.repository, uploadSession[method], 'session');
    case 'tag-list':
      return inRepository(operation.repository, reading[method]);
    case 'referrers':
      return operation.digest === null ? null : inRepository(operation.repository, reading[method]);
    case 'v1-repository':
      if (operation.isAmbiguous) return null;
      return inRepository(operation.repository, v1Methods[operation.part]?.[method]);
    case 'v1-image': {
      const action = v1ImageParts.has(operation.part) ? v1Image[method] : undefined;
      return action === undefined ? null : { kind: 'all-repositories', action };
    }
    case 'misnamed':
    case 'unknown':
    case 'console':
    case 'outside':
      return null;
  }
}

function inRepository(
  repository: string,
  action: Action | undefined,
  upload: 'start' | 'session' | null = null,
): Access | null {
  if (action === undefined || !isRepositoryName(repository)) return null;
  return { kind: 'repository', repository, action, upload };
}
