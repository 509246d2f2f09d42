import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { listBlobs, statBlob } from '../../../../src/clean/scan/stored-blobs.ts';
import { dataPath } from '../../../support/stored-blobs.ts';
import { createStorageTree, digestOf, setTime } from '../../../support/storage-tree.ts';

describe('the data of a storage', () => {
  const root = mkdtempSync(path.join(tmpdir(), 'tidegate-blobs-'));
  after(() => rmSync(root, { recursive: true }));
  const tree = createStorageTree(root);
  const list = async () => {
    const found = [];
    for await (const blob of listBlobs(root)) found.push(blob);
    return found.sort((one, other) => (one.digest < other.digest ? -1 : 1));
  };

  test('is listed with size and time; what is no blob is not', async () => {
    assert.deepEqual(await list(), []);
    const digests = ['one', 'two', 'three'].map((text) => tree.blob(text)).sort();
    for (const digest of digests) setTime(path.join(root, dataPath(digest)), 5_000);
    const other = digestOf('other');
    tree.write(`docker/registry/v2/blobs/sha256/00/${other.slice(7)}/data`, 'in the wrong folder');
    tree.write(`docker/registry/v2/blobs/sha256/${other.slice(7, 9)}/${other.slice(7)}`, 'no folder');
    tree.write('docker/registry/v2/blobs/sha256/ab/abc/data', 'no digest');
    tree.write('docker/registry/v2/blobs/.DS_Store', '');
    const linked = path.dirname(tree.write(dataPath(digestOf('linked')), ''));
    rmSync(`${linked}/data`);
    symlinkSync('/etc/passwd', `${linked}/data`);
    const found = await list();
    assert.deepEqual(
      found.map(({ digest }) => digest),
      digests,
    );
    for (const { digest, ...status } of found) assert.deepEqual(statBlob(root, digest), status);
    assert.deepEqual(statBlob(root, digestOf('one')), { bytes: 3, mtimeMs: 5_000 });
    for (const absent of [other, digestOf('linked'), 'sha256:abc', 'sha256:../../..', ''])
      assert.equal(statBlob(root, absent), null);
  });
});
