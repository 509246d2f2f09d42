import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { DirectoryWatch } from '../../../../src/clean/scan/directory-watch.ts';
import { markRepository } from '../../../../src/clean/scan/mark.ts';
import { scanRepository } from '../../../../src/clean/scan/repository-scan.ts';
import { scanRepositories } from '../../../../src/clean/scan/scan-repositories.ts';
import type { RepositoryScan } from '../../../../src/clean/scan/scan-types.ts';
import { dataPath } from '../../../support/stored-blobs.ts';
import { createStorageTree, digestOf, setTime, type StorageTree } from '../../../support/storage-tree.ts';

const repositories = 'docker/registry/v2/repositories';

describe('a scan of a storage that is not as a registry leaves it', () => {
  let root: string;
  let tree: StorageTree;
  let folder: string;
  let layer: string;
  let manifest: string;

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'tidegate-hostile-'));
    chmodSync(root, 0o755);
    tree = createStorageTree(root);
    folder = path.join(root, repositories, 'app');
    layer = tree.blob('layer');
    tree.layer('app', layer);
    manifest = tree.manifest('app', { layers: [{ digest: layer }] });
    tree.tag('app', 'v1', manifest);
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const scanAll = async () => {
    const scans: RepositoryScan[] = [];
    for await (const scan of scanRepositories(root)) scans.push(scan);
    return scans;
  };
  const scanApp = () => scanRepository(root, 'app');
  const faultsOf = ({ faults }: RepositoryScan) => faults.map(({ why, keeps }) => `${keeps}: ${why}`);
  const layerFolder = (digest = layer) => `${folder}/_layers/${digest.replace(':', '/')}`;
  const current = () => `${folder}/_manifests/tags/v1/current/link`;

  const inPlaceOf: Record<string, (file: string) => void> = {
    'is empty': (file) => truncateSync(file),
    'is too large': (file) => truncateSync(file, 2 ** 40),
    'holds no digest': (file) => tree.write(path.relative(root, file), `${layer}\n`),
    'is not a regular file': (file) => replace(file, () => spawnSync('mkfifo', [file])),
    'cannot be read (ENOENT)': (file) => replace(file, () => symlinkSync('nowhere', file)),
    'cannot be read (ELOOP)': (file) => replace(file, () => symlinkSync('link', file)),
  };
  for (const [why, damage] of Object.entries(inPlaceOf)) {
    test(`a link of a layer that ${why} keeps the layer of its folder's name`, async () => {
      damage(`${layerFolder()}/link`);
      const scan = await scanApp();
      assert.deepEqual(faultsOf(scan), [`itself: ${why}`]);
      assert.deepEqual(
        scan.layers.map(({ digest, isReadable }) => [digest, isReadable]),
        [[layer, false]],
      );
    });

    test(`a link of a tag that ${why} keeps everything in the repository`, async () => {
      damage(current());
      const scan = await scanApp();
      assert.deepEqual(faultsOf(scan), [`repository: ${why}`]);
      assert.equal(scan.tags[0]?.digest, null);
      assert.equal(markRepository(scan, []).keepsAll, true);
    });
  }

  for (const [why, damage] of Object.entries({
    'has no data': (file: string) => rmSync(file),
    'is too large for a manifest': (file: string) => truncateSync(file, 2 ** 40),
    'does not have the bytes of its digest': (file: string) => truncateSync(file, 20),
    'is not a regular file': (file: string) => replace(file, () => symlinkSync('/dev/zero', file)),
    'cannot be read (EACCES)': (file: string) => chmodSync(file, 0),
  }))
    test(`a manifest that ${why} keeps everything in the repository`, async () => {
      damage(path.join(root, dataPath(manifest)));
      const scan = await withoutRoot(scanApp);
      assert.deepEqual(faultsOf(scan), [`repository: ${why}`]);
      assert.equal(scan.manifests[0]?.content, null);
      assert.equal(markRepository(scan, []).keepsAll, true);
    });

  test('a manifest whose data is no JSON object keeps everything in the repository', async () => {
    tree.revision('app', tree.blob('"no object"'));
    tree.revision('app', tree.blob('{}'));
    assert.deepEqual(faultsOf(await scanApp()), ['repository: is no JSON object']);
  });

  test('the content of a link counts, not the name of its folder', async () => {
    const other = `sha512:${'0'.repeat(128)}`;
    tree.layer('app', other, layer);
    const found = (await scanApp()).layers.filter(({ linkedAs }) => linkedAs === other);
    assert.deepEqual(
      found.map(({ digest }) => digest),
      [layer],
    );
    const image = tree.manifest('app', { layers: [{ digest: other }] });
    const scan = await scanApp();
    const mark = markRepository(scan, [image]);
    assert.deepEqual(
      scan.layers.map((each) => mark.keepsLayer(each)),
      [true, true],
    );
  });

  test('a folder that a removed link left behind is no link, nor is a file in the place of a folder', async () => {
    rmSync(`${layerFolder()}/link`);
    rmSync(current());
    tree.write(`${repositories}/app/_layers/sha256/file`, '');
    tree.write(`${repositories}/app/_manifests/tags/.DS_Store`, '');
    const scan = await scanApp();
    assert.deepEqual([scan.layers, scan.tags, scan.faults], [[], [], []]);
  });

  test('the links of the first registries are found below nested folders', async () => {
    tree.write(`${repositories}/app/_layers/tarsum/v1/sha256/${'0'.repeat(64)}/link`, digestOf('old'));
    tree.write(`${repositories}/app/_layers/deep/1/2/3/4/5/link`, digestOf('older'));
    const scan = await scanApp();
    assert.deepEqual(faultsOf(scan), ['storage: is nested too deeply']);
    assert.deepEqual(scan.layers.map(({ digest }) => digest).sort(), [digestOf('old'), layer].sort());
  });

  test('a symbolic link in the place of a folder keeps all data; another file keeps nothing', async () => {
    const elsewhere = `${root}/elsewhere`;
    renameSync(`${folder}/_layers`, elsewhere);
    symlinkSync(elsewhere, `${folder}/_layers`);
    assert.deepEqual(faultsOf(await scanApp()), ['storage: is a symbolic link, and none is followed']);
    rmSync(`${folder}/_layers`);
    tree.write(`${repositories}/app/_layers`, '');
    assert.deepEqual(faultsOf(await scanApp()), ['itself: is not a folder']);
  });

  test('symbolic links among repositories are told as repositories with a fault', async () => {
    symlinkSync('..', path.join(root, repositories, 'loop'));
    tree.write(`${repositories}/README`, '');
    const [told, app, ...more] = (await scanAll()) as [RepositoryScan, RepositoryScan];
    assert.deepEqual(
      told.faults.map(({ path: file, keeps }) => [file, keeps]).sort(),
      [
        [`${repositories}/README`, 'itself'],
        [`${repositories}/loop`, 'storage'],
      ].sort(),
    );
    assert.deepEqual([app.name, app.faults, more], ['app', [], []]);
  });

  test('names that no repository or tag can have keep what they have', async () => {
    tree.layer('App.BACKUP', layer);
    tree.tag('app', 'v 1\u001b[31m', manifest);
    const [backup, app] = (await scanAll()) as [RepositoryScan, RepositoryScan];
    assert.deepEqual(faultsOf(backup), ['repository: is not the name of a repository']);
    assert.equal(backup.layers.length, 1);
    assert.deepEqual(faultsOf(app), ['repository: is not the name of a tag']);
    assert.match(app.faults[0]?.path ?? '', /v 1\ufffd\[31m$/);
  });

  test('a deep tree ends with a fault', async () => {
    const deep = Array.from({ length: 40 }, () => 'd'.repeat(30)).join('/');
    tree.layer(deep, layer);
    const scans = await scanAll();
    assert.deepEqual(scans.flatMap(faultsOf), ['storage: is too long']);
    assert.deepEqual(
      scans.flatMap(({ layers }) => layers.length),
      [1, 0],
    );
  });

  test('many faults are counted, not listed', async () => {
    for (let number = 0; number < 150; number++) truncateSync(tree.layer('app', digestOf(`${number}`)));
    const scan = await scanApp();
    assert.equal(scan.layers.length, 151);
    assert.equal(scan.faults.length, 101);
    assert.equal(scan.faults.at(-1)?.why, 'and 50 more faults');
  });

  test('a folder that cannot be read keeps all data', async () => {
    chmodSync(`${folder}/_layers/sha256`, 0);
    assert.deepEqual(faultsOf(await withoutRoot(scanApp)), ['storage: cannot be read (EACCES)']);
    chmodSync(`${folder}/_layers/sha256`, 0o700);
  });

  test('a repository that is removed meanwhile has nothing, or what was read of it', async () => {
    for (const name of ['b', 'c', 'd'])
      for (let number = 0; number < 200; number++) tree.layer(name, digestOf(`${number}`));
    const names: string[] = [];
    for await (const scan of scanRepositories(root)) {
      names.push(scan.name);
      assert.deepEqual(scan.faults, []);
      if (scan.name === 'b') rmSync(path.join(root, repositories, 'c'), { recursive: true });
    }
    assert.deepEqual(names, ['app', 'b', 'd']);
    const scanning = scanRepository(root, 'd');
    await setImmediate();
    rmSync(path.join(root, repositories, 'd'), { recursive: true });
    assert.deepEqual((await scanning).faults, []);
    assert.deepEqual((await scanRepository(root, 'd')).layers, []);
  });

  test('a watch is told of every folder in which a link can come back', async () => {
    const left = layerFolder(digestOf('left'));
    mkdirSync(left, { recursive: true });
    const watched = async (digests?: ReadonlySet<string>) => {
      const watch = new DirectoryWatch(() => Date.now() + 10_000);
      await scanRepository(root, 'app', { watch, ...(digests ? { watchedDigests: digests } : {}) });
      return watch;
    };
    for (const write of [
      () => tree.layer('app', digestOf('left')),
      () => tree.layer('app', digestOf('new')),
      () => tree.tag('app', 'v1', manifest),
      () => tree.tag('app', 'v2', manifest),
      () => tree.revision('app', digestOf('unknown')),
    ]) {
      const watch = await watched();
      assert.deepEqual(watch.changed(), []);
      write();
      assert.notDeepEqual(watch.changed(), []);
    }
    rmSync(`${left}/link`);
    const watch = await watched(new Set([layer]));
    tree.layer('app', digestOf('left'));
    assert.deepEqual(watch.changed(), []);
  });

  test('when a manifest lost a tag is known from the pushes to that tag', async () => {
    const images = [1, 2, 3].map((number) => tree.manifest('app', { number }));
    const [first = '', second = '', third = ''] = images;
    for (const [index, image] of images.entries()) {
      tree.tag('app', 'latest', image);
      setTime(`${folder}/_manifests/tags/latest/index/${image.replace(':', '/')}/link`, 1000 * (index + 1));
    }
    const scan = await scanApp();
    const lost = new Map(scan.manifests.map((found) => [found.digest, found.lostTagMs]));
    assert.deepEqual(
      [first, second, third, manifest].map((image) => lost.get(image)),
      [2000, 3000, null, null],
    );
  });

  test('it ends when it is told to', async () => {
    const signal = AbortSignal.abort();
    await assert.rejects(scanRepository(root, 'app', { signal }), { name: 'AbortError' });
    await assert.rejects(async () => {
      for await (const scan of scanRepositories(root, { signal })) assert.fail(scan.name);
    });
  });
});

/** Root may read everything, so it becomes nobody meanwhile. */
async function withoutRoot<Result>(work: () => Promise<Result>): Promise<Result> {
  if (process.getuid?.() !== 0) return work();
  process.seteuid?.(65534);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}

function replace(file: string, make: () => void): void {
  rmSync(file);
  make();
}
