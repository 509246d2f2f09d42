import { digestForm } from './names/digest.ts';
import { findV1Fault, findV2Fault, type NameFault } from './names/name-fault.ts';
import { parseMount, type Mount } from './mount.ts';
import { parseQuery } from './query.ts';
import { nameV1Repository } from './names/repository-name.ts';
import type { CanonicalTarget } from './target.ts';

/** What a request is, parsed once from method and target. All decisions and counts about a request use it. */
export type Operation = OperationSubject & {
  readonly method: string;
  /** GET or HEAD. */
  readonly reads: boolean;
  readonly hasQuery: boolean;
};

/** The subject of a request. Every name in it follows the grammar of its kind, unless noted. */
export type OperationSubject =
  /** A path that needs no credentials. */
  | { readonly kind: 'open' }
  /** Exactly `/v2/` (distribution-spec, end-1). */
  | { readonly kind: 'version-check' }
  /** `/v2/<repository>/manifests/<reference>` (end-2, end-7, end-9). */
  | {
      readonly kind: 'manifest';
      readonly repository: string;
      readonly reference: string;
      /** The reference if it is a digest; null: it is a tag. */
      readonly digest: string | null;
      readonly tag: string | null;
      /** All values of `tag` in a write's query, valid or not ("Pushing Manifests With Tags"). */
      readonly queryTags: readonly string[];
    }
  /** `/v2/<repository>/blobs/<digest>` (end-2, end-10). */
  | {
      readonly kind: 'blob';
      readonly repository: string;
      /** Null: the path has no valid one there. */
      readonly digest: string | null;
      /** Null: not in the canonical form that a registry's storage uses. */
      readonly stored: BlobName | null;
    }
  /** `/v2/<repository>/blobs/uploads/` (end-4, end-11). */
  | {
      readonly kind: 'upload-start';
      readonly repository: string;
      readonly mount: Mount | null;
      /** Every digest in the query that it asks to mount, valid or not. */
      readonly mounted: readonly string[];
      /** Every source repository in the query, valid or not. */
      readonly sources: readonly string[];
      /** Every digest in the query by which it uploads a whole blob at once, valid or not. */
      readonly digests: readonly string[];
    }
  /** `/v2/<repository>/blobs/uploads/<session>` (end-5, end-6, end-13, end-14). */
  | {
      readonly kind: 'upload-session';
      readonly repository: string;
      /** Null: the path has no valid one there. */
      readonly session: string | null;
      /** Every digest in a PUT's query, valid or not. */
      readonly digests: readonly string[];
    }
  /** `/v2/<repository>/tags/list` (end-8). */
  | { readonly kind: 'tag-list'; readonly repository: string }
  /** `/v2/<repository>/referrers/<digest>` (end-12). */
  | { readonly kind: 'referrers'; readonly repository: string; readonly digest: string | null }
  /** `/v2/_catalog`. */
  | { readonly kind: 'catalog' }
  /** `/v1/repositories/<repository>…` of the first protocol. */
  | {
      readonly kind: 'v1-repository';
      /** With `library/`, which v1 clients leave out; it may have capital letters. */
      readonly repository: string;
      readonly part: V1Part;
      /** Null unless the path has one. */
      readonly tag: string | null;
      /** As a manifest's. */
      readonly queryTags: readonly string[];
      /** Whether a keyword of the protocol is in the place of a name or tag: the path has two readings. */
      readonly isAmbiguous: boolean;
    }
  /** `/v1/images/<image>/<part>`. */
  | {
      readonly kind: 'v1-image';
      readonly image: string;
      readonly part: string;
      readonly isPrivate: boolean;
    }
  | { readonly kind: 'v1-login' }
  | { readonly kind: 'v1-search' }
  /** `/`. */
  | { readonly kind: 'root' }
  /** `/ui` or below it. */
  | {
      readonly kind: 'console';
      /** What follows `/ui/`, decoded; null: the path is `/ui`. */
      readonly page: string | null;
    }
  /** It has an invalid name: refused once the client is authenticated. */
  | { readonly kind: 'misnamed'; readonly fault: NameFault; readonly space: RegistrySpace }
  /** An unknown request within the registry's URL space. */
  | { readonly kind: 'unknown'; readonly space: RegistrySpace }
  /** Outside the registry's URL space. */
  | { readonly kind: 'outside' };

/** The part of the registry's URL space: below `/v2/`, below `/v1/repositories/`, or elsewhere. */
export type RegistrySpace = 'v2' | 'v1-repositories' | 'other';

/** The part of a repository that a v1 path names; `other`: none that the protocol knows. */
export type V1Part =
  '' | 'tags' | 'tags/' | 'tags/TAG' | 'tags/TAG/json' | 'images' | 'auth' | 'properties' | 'json' | 'other';

/** A blob in a repository's storage. Every part follows its grammar, so none is a dot segment. */
export type BlobName = {
  readonly repository: string;
  readonly algorithm: 'sha256' | 'sha512';
  /** Lower case. */
  readonly hex: string;
};

/** A v2 path that names a repository. With the flag `s`, since "." does not match U+2028 and U+2029. */
const v2Path =
  /^\/v2\/(?<repository>.+)\/(?:manifests\/(?<reference>[^/]+)|blobs\/uploads\/(?<session>[^/]*)|blobs\/(?<blob>[^/]+)|(?<tags>tags\/list)|referrers\/(?<subject>[^/]+))$/s;
const sessionForm = /^[A-Za-z0-9._=~-]+$/;
/** Digests: image-spec, "Registered algorithms". */
const storedDigest = /^(?:sha256:([0-9a-f]{64})|sha512:([0-9a-f]{128}))$/;

/** A v1 path that names a repository, of one part or two, as short as possible. */
const v1RepositoryPath =
  /^\/v1\/repositories\/(?<name>[^/]+(?:\/[^/]+)??)(?:\/(?:(?<word>tags|images|auth|properties|json)(?:\/(?<rest>.*))?)?)?$/s;
const v1ImagePath = /^\/v1\/(?<private>private_)?images\/(?<image>[^/]+)\/(?<part>.*)$/s;
const v1Words: ReadonlySet<string> = new Set(['tags', 'images', 'auth', 'properties', 'json']);

/**
 * Parses a request. Paths that need no credentials are compared raw, byte for byte. Everything else is decoded first,
 * as upstream does.
 *
 * @param openPaths the paths that need no credentials
 */
export function parseOperation(
  method: string,
  target: CanonicalTarget,
  openPaths: ReadonlySet<string>,
): Operation {
  const reads = method === 'GET' || method === 'HEAD';
  const subject =
    (reads ? parseFree(target.rawPath, openPaths) : null) ?? parseSubject(method, reads, target);
  return Object.assign(subject, { method, reads, hasQuery: target.raw !== target.rawPath });
}

function parseFree(rawPath: string, openPaths: ReadonlySet<string>): OperationSubject | null {
  if (openPaths.has(rawPath)) return { kind: 'open' };
  return rawPath === '/v2/' ? { kind: 'version-check' } : null;
}

function parseSubject(method: string, reads: boolean, target: CanonicalTarget): OperationSubject {
  const { path } = target;
  if (path === '/v2' || path.startsWith('/v2/')) return parseV2(method, reads, target);
  if (path === '/v1' || path.startsWith('/v1/')) return parseV1(path, reads ? [] : readAll(target, 'tag'));
  if (path === '/ui' || path.startsWith('/ui/'))
    return { kind: 'console', page: path === '/ui' ? null : path.slice('/ui/'.length) };
  return { kind: path === '/' ? 'root' : 'outside' };
}

function parseV2(method: string, reads: boolean, target: CanonicalTarget): OperationSubject {
  const { path } = target;
  if (path === '/v2/_catalog') return { kind: 'catalog' };
  const found = v2Path.exec(path)?.groups;
  if (found === undefined) return { kind: 'unknown', space: 'v2' };
  const { repository = '', reference, session, blob, tags, subject } = found;
  const fault = findV2Fault({ repository, reference, digest: blob ?? subject });
  if (fault !== null) return { kind: 'misnamed', fault, space: 'v2' };
  if (reference !== undefined) {
    const isDigest = digestForm.test(reference);
    const queryTags = reads ? [] : readAll(target, 'tag');
    const digest = isDigest ? reference : null;
    const tag = isDigest ? null : reference;
    return { kind: 'manifest', repository, reference, digest, tag, queryTags };
  }
  if (session === '') {
    const isStart = method === 'POST';
    return {
      kind: 'upload-start',
      repository,
      mount: isStart ? parseMount(target) : null,
      mounted: isStart ? readAll(target, 'mount') : [],
      sources: isStart ? readAll(target, 'from') : [],
      digests: isStart ? readAll(target, 'digest') : [],
    };
  }
  if (session !== undefined)
    return {
      kind: 'upload-session',
      repository,
      session: sessionForm.test(session) ? session : null,
      digests: method === 'PUT' ? readAll(target, 'digest') : [],
    };
  if (blob !== undefined)
    return { kind: 'blob', repository, digest: readDigest(blob), stored: parseStored(repository, blob) };
  if (tags !== undefined) return { kind: 'tag-list', repository };
  return { kind: 'referrers', repository, digest: readDigest(subject) };
}

/** Whether a decoded path lies in the registry's URL space, below its root. */
export function isRegistryPath(path: string): boolean {
  return path.startsWith('/v2/') || path.startsWith('/v1/');
}

/** Whether a path or target is that of a repository: one below `/v2/` that begins with "_" names none. */
export function namesRepository(target: string): boolean {
  return /^\/v2\/[^?_]/.test(target);
}

/** The upload session that a decoded path names; null for any other path. */
export function parseUploadSession(path: string): { repository: string; session: string } | null {
  const { repository = '', session = '' } = v2Path.exec(path)?.groups ?? {};
  return sessionForm.test(session) ? { repository, session } : null;
}

function parseV1(path: string, queryTags: readonly string[]): OperationSubject {
  if (path === '/v1/search') return { kind: 'v1-search' };
  if (path === '/v1/users' || path === '/v1/users/') return { kind: 'v1-login' };
  const inImage = v1ImagePath.exec(path)?.groups;
  if (inImage !== undefined) {
    const { image = '', part = '' } = inImage;
    const fault = findV1Fault({ image });
    if (fault !== null) return { kind: 'misnamed', fault, space: 'other' };
    return { kind: 'v1-image', image, part, isPrivate: inImage['private'] !== undefined };
  }
  const { name, word, rest } = v1RepositoryPath.exec(path)?.groups ?? {};
  const space = path.startsWith('/v1/repositories/') ? 'v1-repositories' : 'other';
  if (name === undefined) return { kind: 'unknown', space };
  const inTags = word === 'tags' && rest !== undefined && rest !== '';
  const [tag = null, below = ''] = inTags ? (/^([^/]+)(.*)/s.exec(rest)?.slice(1) ?? []) : [];
  const fault = findV1Fault(tag === null ? { repository: name } : { repository: name, tag });
  if (fault !== null) return { kind: 'misnamed', fault, space };
  return {
    kind: 'v1-repository',
    repository: nameV1Repository(name),
    tag,
    queryTags,
    part: parseV1Part(word, rest, below),
    isAmbiguous: [...name.split('/'), tag ?? ''].some((each) => v1Words.has(each)),
  };
}

function parseV1Part(word: string | undefined, rest: string | undefined, belowTag: string): V1Part {
  switch (word) {
    case undefined:
      return '';
    case 'tags':
      if (rest === undefined) return 'tags';
      if (rest === '') return 'tags/';
      if (belowTag === '') return 'tags/TAG';
      return belowTag === '/json' ? 'tags/TAG/json' : 'other';
    case 'images':
    case 'auth':
    case 'properties':
    case 'json':
      return rest === undefined ? word : 'other';
    default:
      return 'other';
  }
}

function parseStored(repository: string, digest: string): BlobName | null {
  const [, sha256, sha512] = storedDigest.exec(digest) ?? [];
  if (sha256 !== undefined) return { repository, algorithm: 'sha256', hex: sha256 };
  return sha512 === undefined ? null : { repository, algorithm: 'sha512', hex: sha512 };
}

function readDigest(text: string | undefined): string | null {
  return text !== undefined && digestForm.test(text) ? text : null;
}

function readAll(target: CanonicalTarget, wanted: string): string[] {
  return parseQuery(target).flatMap(({ name, value }) => (name === wanted ? [value] : []));
}
