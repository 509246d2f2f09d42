import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { ManifestReader } from '../../../../src/clean/scan/manifest-reader.ts';
import { scanRepository } from '../../../../src/clean/scan/repository-scan.ts';
import { scanRepositories } from '../../../../src/clean/scan/scan-repositories.ts';
import type { RepositoryScan } from '../../../../src/clean/scan/scan-types.ts';
import { createStorageTree, setTime } from '../../../support/storage-tree.ts';

describe('a scan', () => {
  const root = mkdtempSync(path.join(tmpdir(), 'tidegate-scan-'));
  const tree = createStorageTree(root);
  const scan = async () => {
    const scans: RepositoryScan[] = [];
    for await (const found of scanRepositories(root)) scans.push(found);
    return scans;
  };

  test('finds nothing in an empty storage', async () => {
    assert.deepEqual(await scan(), []);
  });

  test('finds tags, manifests and layers with their times', async () => {
    const layer = tree.blob('layer');
    const manifest = tree.manifest('a/b', { layers: [{ digest: layer }] });
    setTime(tree.layer('a/b', layer), 1_000);
    setTime(tree.revision('a/b', manifest), 2_000);
    tree.tag('a/b', 'v1', manifest);
    tree.layer('a', layer);
    tree.layer('a-b', layer);
    tree.write('docker/registry/v2/repositories/a/_uploads/x/data', '');
    const scans = await scan();
    assert.deepEqual(
      scans.map(({ name }) => name),
      ['a', 'a/b', 'a-b'],
    );
    const [, found] = scans as [RepositoryScan, RepositoryScan];
    assert.deepEqual(found.faults, []);
    assert.deepEqual(found.layers, [
      { digest: layer, linkedAs: layer, isReadable: true, linkMtimeMs: 1_000 },
    ]);
    assert.deepEqual(
      found.tags.map(({ name, digest }) => [name, digest]),
      [['v1', manifest]],
    );
    assert.equal(found.manifests[0]?.linkMtimeMs, 2_000);
    assert.deepEqual(found.manifests[0].content, { named: [layer], manifests: [], subject: null });
    assert.deepEqual(await scanRepository(root, 'a/b'), found);
  });

  test('reads each kind of manifest once, and knows its subject', async () => {
    const layer = tree.blob('layer');
    const schema1 = tree.manifest('kinds', { schemaVersion: 1, fsLayers: [{ blobSum: layer }] });
    const index = tree.manifest('kinds', { manifests: [{ digest: schema1 }] });
    const artifact = tree.manifest('kinds', { Subject: { Digest: index }, blobs: [{ digest: layer }] });
    tree.revision('more/kinds', artifact);
    const reader = new ManifestReader(root);
    for (const name of ['kinds', 'more/kinds', 'kinds']) {
      const { manifests, faults } = await scanRepository(root, name, { manifests: reader });
      const contents = new Map(manifests.map(({ digest, content }) => [digest, content]));
      assert.deepEqual(faults, []);
      assert.deepEqual(contents.get(artifact), { named: [index, layer], manifests: [index], subject: index });
      if (name !== 'kinds') continue;
      assert.deepEqual(contents.get(schema1), { named: [layer], manifests: [], subject: null });
      assert.deepEqual(contents.get(index), { named: [schema1], manifests: [schema1], subject: null });
    }
    rmSync(root, { recursive: true });
  });
});
