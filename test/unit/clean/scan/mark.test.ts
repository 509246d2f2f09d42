import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { markRepository, subjectOfTag } from '../../../../src/clean/scan/mark.ts';

describe('a mark', () => {
  test('of nothing keeps nothing', () => {
    const scan = {
      name: 'a',
      tags: [],
      manifests: [],
      layers: [],
      namedBlobs: [],
      faults: [],
      tagsFolderMtimeMs: null,
    };
    const mark = markRepository(scan, []);
    assert.equal(mark.keepsAll, false);
    assert.equal(mark.keepsLayer({ digest: 'sha256:a', linkedAs: 'sha256:a' }), false);
  });

  test('knows the tags that are about a digest', () => {
    const hex = 'a'.repeat(64);
    for (const tag of [`sha256-${hex}`, `sha256-${hex}.sig`, `sha256-${hex}-1`])
      assert.equal(subjectOfTag(tag), `sha256:${hex}`);
    for (const tag of ['v1', `sha256-${hex}a`, `sha256-${hex.slice(1)}`, `xsha256-${hex}`])
      assert.equal(subjectOfTag(tag), null);
  });
});
