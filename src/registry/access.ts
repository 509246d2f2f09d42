import type { Operation, V1Part } from './operation.ts';
import { isRepositoryName } from './names/repository-name.ts';

/** What is done in a repository. */
export type Action = 'pull' | 'push' | 'delete';

/** One thing that has to be allowed. */
export type Permission = { readonly repository: string; readonly action: Action };

/** What a request asks for, as far as a policy decides about it. */
export type Access =
  /** Nothing of any repository: the version check, open paths, and what the first protocol's clients log in with. */
  | { readonly kind: 'free' }
  /** Names of all repositories; the answer is cut down to those that may be pulled. */
  | { readonly kind: 'catalog' | 'search' }
  /** Something of the first protocol that names no repository: only who may do this in all of them. */
  | { readonly kind: 'all-repositories'; readonly action: Action }
  | {
      readonly kind: 'repository';
      readonly repository: string;
      readonly action: Action;
      /** `start`: begins an upload; `session`: goes on with one, or asks for it, or ends it. */
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
 * The one table of what every request of the distribution-spec 1.1, of Docker's v2 API and of the first protocol asks for; a
 * mount's source comes on top. Null: it is none of them.
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
