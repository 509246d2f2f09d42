import { join } from 'node:path';
import { isRepositoryName } from '../../registry/names/repository-name.ts';
import { tagForm } from '../../registry/names/tag.ts';

/** A file of the registry's that holds a digest, as it was. */
export type LinkFile = {
  /** Below the storage's folder. */
  readonly path: string;
  readonly content: string;
  readonly mode: number;
  readonly mtimeMs: number;
};

/** What a run takes: tags and data are moved into the quarantine, links are deleted by the registry. */
export type Item =
  | {
      readonly what: 'tag';
      readonly repository: string;
      readonly tag: string;
      readonly digest: string;
    }
  | {
      readonly what: 'manifest' | 'layer';
      readonly repository: string;
      readonly digest: string;
      readonly files: readonly LinkFile[];
    }
  | { readonly what: 'data'; readonly digest: string; readonly bytes: number };

export type MovedItem = Extract<Item, { what: 'tag' | 'data' }>;
export type LinkItem = Extract<Item, { what: 'manifest' | 'layer' }>;

/** The paths of distribution's storage driver, below the storage's folder. */
export const registryPath = 'docker/registry/v2';

/** @throws Error when it is no repository's name */
export function repositoryPath(repository: string): string {
  if (!isRepositoryName(repository)) throw new Error(`${repository} is no name of a repository`);
  return join(registryPath, 'repositories', repository);
}

export function dataPath(digest: string): string {
  const [algorithm, hex] = splitDigest(digest);
  return join(registryPath, 'blobs', algorithm, hex.slice(0, 2), hex);
}

export function tagsPath(repository: string): string {
  return join(repositoryPath(repository), '_manifests/tags');
}

/** @throws Error when it is no tag */
export function tagPath(repository: string, tag: string): string {
  if (!tagForm.test(tag)) throw new Error(`${tag} is no tag`);
  return join(tagsPath(repository), tag);
}

export function revisionPath(repository: string, digest: string): string {
  return join(repositoryPath(repository), '_manifests/revisions', ...splitDigest(digest), 'link');
}

export function layerPath(repository: string, digest: string): string {
  return join(repositoryPath(repository), '_layers', ...splitDigest(digest), 'link');
}

/** The folder that is moved. */
export function movedPath(item: MovedItem): string {
  return item.what === 'tag' ? tagPath(item.repository, item.tag) : dataPath(item.digest);
}

export const digestForm = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):([0-9a-f]{32,256})$/;

/** Only what this gives ever becomes a part of a path. @throws Error when it is no digest */
function splitDigest(digest: string): readonly [string, string] {
  const [, algorithm, hex] = digestForm.exec(digest) ?? [];
  if (algorithm === undefined || hex === undefined) throw new Error(`${digest} is no digest`);
  return [algorithm, hex];
}
