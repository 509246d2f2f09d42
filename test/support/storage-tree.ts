import { createHash } from 'node:crypto';
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { dataPath } from './stored-blobs.ts';

/** Makes a registry's storage without a registry, as distribution's file system driver lays it out. */
export type StorageTree = {
  readonly root: string;
  /** Writes data; returns its digest. */
  blob(bytes: Buffer | string): string;
  layer(repository: string, digest: string, content?: string): string;
  revision(repository: string, digest: string, content?: string): string;
  /** Writes a manifest's data and its link; returns its digest. */
  manifest(repository: string, manifest: object): string;
  tag(repository: string, tag: string, digest: string): void;
  /** Writes a file below the root; returns its path. */
  write(file: string, content: string | Buffer): string;
};

export function createStorageTree(root: string): StorageTree {
  const write = (file: string, content: string | Buffer) => {
    const full = path.join(root, file);
    mkdirSync(path.dirname(full), { recursive: true });
    writeFileSync(full, content);
    return full;
  };
  const repository = (name: string) => `docker/registry/v2/repositories/${name}`;
  const blob = (bytes: Buffer | string) => {
    const digest = digestOf(bytes);
    write(dataPath(digest), bytes);
    return digest;
  };
  const link = (folder: string, digest: string, content: string) =>
    write(`${folder}/${digest.replace(':', '/')}/link`, content);
  const revision = (name: string, digest: string, content = digest) =>
    link(`${repository(name)}/_manifests/revisions`, digest, content);
  return {
    root,
    blob,
    layer: (name, digest, content = digest) => link(`${repository(name)}/_layers`, digest, content),
    revision,
    manifest: (name, manifest) => {
      const digest = blob(JSON.stringify(manifest));
      revision(name, digest);
      return digest;
    },
    tag: (name, tag, digest) => {
      const folder = `${repository(name)}/_manifests/tags/${tag}`;
      write(`${folder}/current/link`, digest);
      link(`${folder}/index`, digest, digest);
    },
    write,
  };
}

export const digestOf = (bytes: Buffer | string): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export function setTime(file: string, ms: number): void {
  utimesSync(file, ms / 1000, ms / 1000);
}
