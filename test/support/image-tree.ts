import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** A registry's folder, written as docker-registry writes it. */
export type ImageTree = {
  readonly root: string;
  /** Stores bytes, and returns their digest. */
  data(text: string): string;
  layer(repository: string, digest: string): void;
  manifest(repository: string, digest: string): void;
  /** Leads a tag to a digest, and adds it to the tag's history. */
  tag(repository: string, tag: string, digest: string): void;
  /** A manifest of these layers, linked with them and, with a tag, tagged. */
  image(repository: string, tag: string | null, layers: readonly string[], note?: string): string;
};

/** @param ageMs how old everything is */
export function createImageTree(root: string, ageMs = 0): ImageTree {
  const registry = path.join(root, 'docker/registry/v2');
  mkdirSync(path.join(registry, 'blobs/sha256'), { recursive: true });
  mkdirSync(path.join(registry, 'repositories'), { recursive: true });
  const bornMs = Date.now() - ageMs;
  let written = 0;
  const write = (file: string, text: string) => {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
    written += 1;
    const mtime = (bornMs - written * 3.25) / 1000;
    utimesSync(file, mtime, mtime);
  };
  const repositoryPath = (repository: string) => path.join(registry, 'repositories', repository);
  const hexOf = (digest: string) => digest.slice('sha256:'.length);
  const tree: ImageTree = {
    root,
    data: (text) => {
      const hex = createHash('sha256').update(text).digest('hex');
      write(path.join(registry, 'blobs/sha256', hex.slice(0, 2), hex, 'data'), text);
      return `sha256:${hex}`;
    },
    layer: (repository, digest) =>
      write(path.join(repositoryPath(repository), '_layers/sha256', hexOf(digest), 'link'), digest),
    manifest: (repository, digest) =>
      write(
        path.join(repositoryPath(repository), '_manifests/revisions/sha256', hexOf(digest), 'link'),
        digest,
      ),
    tag: (repository, tag, digest) => {
      const folder = path.join(repositoryPath(repository), '_manifests/tags', tag);
      write(path.join(folder, 'index/sha256', hexOf(digest), 'link'), digest);
      write(path.join(folder, 'current/link'), digest);
    },
    image: (repository, tag, layers, note = '') => {
      const mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
      const named = layers.map((text) => ({
        mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
        size: Buffer.byteLength(text),
        digest: tree.data(text),
      }));
      const [config, ...rest] = named;
      const text = JSON.stringify({ schemaVersion: 2, mediaType, config, layers: rest, note });
      const digest = tree.data(text);
      for (const each of named) tree.layer(repository, each.digest);
      tree.manifest(repository, digest);
      if (tag !== null) tree.tag(repository, tag, digest);
      return digest;
    },
  };
  return tree;
}

/** Every file below `docker/`: its content and mtime, to a microsecond. */
export function readStorage(root: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const entry of readdirSync(path.join(root, 'docker'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const { mtimeMs } = statSync(file);
    files[path.relative(root, file)] = `${mtimeMs.toFixed(2)} ${readFileSync(file, 'latin1')}`;
  }
  return files;
}
