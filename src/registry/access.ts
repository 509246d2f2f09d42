import { digestForm } from './digest.ts';
import { isRepositoryName } from './repository-name.ts';
import type { Route } from './route.ts';
import type { CanonicalTarget } from './target.ts';

/** What is done in a repository. */
export type Action = 'pull' | 'push' | 'delete';

/** One thing that has to be allowed. */
export type Need = { readonly repository: string; readonly action: Action };

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

const sessionId = /^[A-Za-z0-9._=~-]+$/;

/** What follows a repository's name; no part of a name can be mistaken for it, since each ends with the path. */
const v2Suffix =
  /\/(?:manifests\/(?<reference>[^/]+)|blobs\/uploads\/(?<session>[^/]*)|blobs\/(?<blob>[^/]+)|tags\/list|referrers\/(?<subject>[^/]+))$/;

/** Everything of the first protocol that names a repository. */
const v1Repository =
  /^\/v1\/repositories\/(?<name>[^/]+(?:\/[^/]+)??)(?:\/(?<part>|tags|tags\/(?<tag>[^/]+)(?:\/json)?|images|auth|properties|json))?$/;
/** With one of these as a name or a tag, a path could be read in two ways. */
const v1Words = /^(?:tags|images|auth|properties|json)$/;
const v1Methods: Readonly<Partial<Record<string, Methods>>> = {
  '': { PUT: 'push', DELETE: 'delete' },
  tags: { ...reading, DELETE: 'delete' },
  'tags/TAG': manifest,
  'tags/TAG/json': reading,
  images: { ...reading, PUT: 'push' },
  auth: { PUT: 'push' },
  properties: { ...reading, PUT: 'push' },
  json: reading,
};
const v1Image = /^\/v1\/(?:private_)?images\/[^/]+\/(?:json|layer|ancestry|checksum|files|diff)$/;
const v1Login = /^\/v1\/users\/?$/;

/**
 * The one table of what every request of the distribution-spec 1.1, of Docker's v2 API and of the first protocol asks for; a
 * mount's source comes on top (mount.ts). Null: it is none of them.
 */
export function parseAccess(method: string, route: Route, target: CanonicalTarget): Access | null {
  switch (route.kind) {
    case 'open':
    case 'version-check':
      return { kind: 'free' };
    case 'outside':
    case 'misnamed':
      return null;
    case 'manifest':
      return inRepository(route.repository, manifest[method]);
    case 'blob':
      return inRepository(route.repository, blob[method]);
    case 'registry':
      return route.version === 'v1' ? parseV1(method, target.path) : parseV2(method, target.path);
  }
}

function parseV2(method: string, path: string): Access | null {
  const reads = reading[method] !== undefined;
  if (path === '/') return reads ? { kind: 'free' } : null;
  if (path === '/v2/_catalog') return reads ? { kind: 'catalog' } : null;
  const suffix = v2Suffix.exec(path);
  if (suffix === null) return null;
  const repository = path.slice('/v2/'.length, suffix.index);
  const { session, blob: digest, subject } = suffix.groups ?? {};
  if (session === '') return inRepository(repository, uploadStart[method], 'start');
  if (session !== undefined)
    return sessionId.test(session) ? inRepository(repository, uploadSession[method], 'session') : null;
  if (digest !== undefined) return digestForm.test(digest) ? inRepository(repository, blob[method]) : null;
  return subject === undefined || digestForm.test(subject) ? inRepository(repository, reading[method]) : null;
}

/** The upload session that a decoded path names; null for any other path. */
export function parseUploadSession(path: string): { repository: string; session: string } | null {
  const suffix = v2Suffix.exec(path);
  const session = suffix?.groups?.['session'] ?? '';
  if (suffix === null || !path.startsWith('/v2/') || !sessionId.test(session)) return null;
  return { repository: path.slice('/v2/'.length, suffix.index), session };
}

function parseV1(method: string, path: string): Access | null {
  const reads = reading[method] !== undefined;
  if (v1Login.test(path)) return reads ? { kind: 'free' } : null;
  if (path === '/v1/search') return reads ? { kind: 'search' } : null;
  if (v1Image.test(path)) {
    const action = ({ ...reading, PUT: 'push' } as Methods)[method];
    return action === undefined ? null : { kind: 'all-repositories', action };
  }
  const { name = '', part = '', tag: v1Tag = '' } = v1Repository.exec(path)?.groups ?? {};
  if ([...name.split('/'), v1Tag].some((word) => v1Words.test(word))) return null;
  const methods = v1Methods[part.replace(/^tags\/[^/]+/, 'tags/TAG')];
  return inRepository(nameV1Repository(name), methods?.[method]);
}

/** The first protocol writes `library/NAME` also as `NAME`. */
export function nameV1Repository(name: string): string {
  return name.includes('/') ? name : `library/${name}`;
}

function inRepository(
  repository: string,
  action: Action | undefined,
  upload: 'start' | 'session' | null = null,
): Access | null {
  if (action === undefined || !isRepositoryName(repository)) return null;
  return { kind: 'repository', repository, action, upload };
}
