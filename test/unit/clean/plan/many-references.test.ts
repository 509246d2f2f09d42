import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { findExclusiveBlobs } from '../../../../src/clean/plan/exclusive-blobs.ts';
import type { ManifestScan, RepositoryScan } from '../../../../src/clean/scan/scan-types.ts';

const digestOf = (number: number) => `sha256:${String(number).padStart(64, '0')}`;
const manifest = (number: number, subject: string | null = null): ManifestScan => ({
  ...{ digest: digestOf(number), linkedAs: digestOf(number), isReadable: true },
  ...{ linkMtimeMs: 0, dataMtimeMs: 0, bytes: 1, lostTagMs: null },
  content: { named: [], manifests: [], subject },
});
const scan = (some: Partial<RepositoryScan>): RepositoryScan => ({
  ...{
    name: 'app',
    tags: [],
    manifests: [],
    layers: [],
    namedBlobs: [],
    faults: [],
    tagsFolderMtimeMs: null,
  },
  ...some,
});
const many = 200_000;
const nothingGoes = { keepsAll: false, leftAloneUntilMs: null, tags: [], manifests: [], links: [] };

// Whoever may push can make a repository so.
describe('a repository in which very much leads to one manifest', { timeout: 240_000 }, () => {
  test('tags', () => {
    const tags = Array.from({ length: many }, (_, i) => ({
      name: `t${i}`,
      digest: digestOf(0),
      pushedMs: 0,
    }));
    const blobs = findExclusiveBlobs(scan({ tags, manifests: [manifest(0)] }), nothingGoes);
    assert.deepEqual(blobs.ofTag('t1'), []);
  });

  test('referrers', () => {
    const manifests = Array.from({ length: many }, (_, i) => manifest(i, i === 0 ? null : digestOf(0)));
    const tags = [{ name: 'v1', digest: digestOf(0), pushedMs: 0 }];
    const blobs = findExclusiveBlobs(scan({ tags, manifests }), nothingGoes);
    assert.equal(blobs.ofTag('v1').length, many);
  });
});
