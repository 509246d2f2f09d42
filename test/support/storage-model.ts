import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

/** What a repository has, by another way than the scan's: whole paths, whole files, regular expressions. */
export type RepositoryModel = {
  readonly tags: Map<string, string>;
  /** By the name of the link's folder: the link's content. */
  readonly manifests: Map<string, string>;
  readonly layers: Map<string, string>;
};

const digest = /[a-z0-9]+:[0-9a-f]{64,}/g;

export function readStorageModel(root: string): Map<string, RepositoryModel> {
  const top = path.join(root, 'docker/registry/v2/repositories');
  const repositories = new Map<string, RepositoryModel>();
  for (const file of readdirSync(top, { recursive: true, encoding: 'utf8' })) {
    const parts = /^(.+)\/(_layers|_manifests\/revisions|_manifests\/tags)\/(.+)\/link$/.exec(file);
    if (parts === null) continue;
    const [, name = '', kind, place = ''] = parts;
    const repository = repositories.get(name) ?? { tags: new Map(), manifests: new Map(), layers: new Map() };
    repositories.set(name, repository);
    const content = readFileSync(path.join(top, file), 'utf8');
    if (kind === '_layers') repository.layers.set(place.replace('/', ':'), content);
    else if (kind === '_manifests/revisions') repository.manifests.set(place.replace('/', ':'), content);
    else if (place.endsWith('/current')) repository.tags.set(place.slice(0, -'/current'.length), content);
  }
  return repositories;
}

export function blobFile(root: string, text: string): string {
  const [algorithm = '', hex = ''] = text.split(':');
  return path.join(root, 'docker/registry/v2/blobs', algorithm, hex.slice(0, 2), hex, 'data');
}

/**
 * The names of links that must stay if these manifests do: adds to what stays until nothing is added.
 * @param kept digests.
 */
export function markModel(root: string, repository: RepositoryModel, kept: Iterable<string>): Set<string> {
  const texts = new Map<string, string>();
  for (const target of new Set([...repository.manifests.values(), ...repository.layers.values()])) {
    const file = blobFile(root, target);
    const isSmall = (statSync(file, { throwIfNoEntry: false })?.size ?? Infinity) < 1_000_000;
    if (isSmall) texts.set(target, readFileSync(file, 'utf8'));
  }
  const links = [...repository.manifests, ...repository.layers];
  const live = new Set(kept);
  for (let before = -1; before !== live.size;) {
    before = live.size;
    for (const [name, target] of links) {
      if (live.has(name)) live.add(target);
      if (live.has(target)) live.add(name);
    }
    for (const [name, target] of repository.manifests) {
      const text = texts.get(target);
      if (text === undefined) continue;
      const { subject } = JSON.parse(text) as { subject?: { digest: string } };
      if (subject !== undefined && live.has(subject.digest)) live.add(target);
      if (live.has(target)) for (const [named] of text.matchAll(digest)) live.add(named);
      if (live.has(target)) live.add(name);
    }
    // containerd fetches an entry of an index that is no manifest here as a blob, and then what that names.
    for (const text of [...texts].filter(([target]) => live.has(target)).map(([, each]) => each)) {
      if (!text.startsWith('{')) continue;
      for (const [named] of text.matchAll(digest)) live.add(named);
    }
    for (const [tag, target] of repository.tags)
      if (live.has(tag.replace(/^(sha256)-(.{64}).*$/, '$1:$2'))) live.add(target);
  }
  return new Set(links.map(([name]) => name).filter((name) => live.has(name)));
}
