import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run } from './processes.ts';

/** An image of random layers, so that no client has any of them yet. */
export type Image = {
  /** A docker-archive: what `docker save` writes, and what docker, podman, buildah, skopeo and ctr all read. */
  readonly archivePath: string;
  /** Digest of its configuration, which names every layer by digest: two images with one id are one image. */
  readonly id: string;
  /** Its name in the archive. */
  readonly name: string;
  readonly layerCount: number;
  remove(): Promise<void>;
};

export async function createImage({ layerCount = 4, layerBytes = 1_000_000 } = {}): Promise<Image> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-image-'));
  const contentDir = path.join(dir, 'content');
  await mkdir(contentDir);
  const name = `localhost/tidegate-test/${randomBytes(4).toString('hex')}:1`;
  const layers: { file: string; digest: string }[] = [];
  for (let i = 0; i < layerCount; i++) {
    const content = `layer-${i}.bin`;
    const file = `layer-${i}.tar`;
    await writeFile(path.join(contentDir, content), randomBytes(layerBytes + i * 4321));
    await tar(path.join(dir, file), contentDir, [content]);
    layers.push({ file, digest: digestOf(await readFile(path.join(dir, file))) });
  }
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    created: '2020-01-01T00:00:00Z',
    config: { Cmd: ['/layer-0.bin'] },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    history: layers.map(() => ({ created: '2020-01-01T00:00:00Z', created_by: 'a test' })),
  });
  const id = digestOf(config);
  const configFile = `${id.slice('sha256:'.length)}.json`;
  const manifest = [{ Config: configFile, RepoTags: [name], Layers: layers.map((layer) => layer.file) }];
  await writeFile(path.join(dir, configFile), config);
  await writeFile(path.join(dir, 'manifest.json'), JSON.stringify(manifest));
  const archivePath = path.join(dir, 'image.tar');
  await tar(archivePath, dir, ['manifest.json', configFile, ...layers.map((layer) => layer.file)]);
  return { archivePath, id, name, layerCount, remove: () => rm(dir, { recursive: true, force: true }) };
}

async function tar(archivePath: string, dir: string, files: readonly string[]): Promise<void> {
  const done = await run('tar', [
    '--create',
    '--owner=0',
    '--group=0',
    '--file',
    archivePath,
    '--directory',
    dir,
    ...files,
  ]);
  if (done.code !== 0) throw new Error(`tar: ${done.stderr}`);
}

const digestOf = (bytes: string | Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
