import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { createTombstoneSource } from '../../../src/pipeline/tag-delete/tombstone-source.ts';
import { isTombstone, mayBeTombstone } from '../../../src/registry/tombstone.ts';

test('each tombstone is a new one, whose digest is right and shows what it is', async () => {
  const { prepare, take } = createTombstoneSource();
  await prepare();
  const taken = await Promise.all([take(), take(), take()]);
  assert.equal(new Set(taken.map(({ digest }) => digest)).size, 3);
  for (const { digest, body } of taken) {
    assert.equal(digest, `sha256:${createHash('sha256').update(body).digest('hex')}`);
    assert.ok(mayBeTombstone(digest));
    assert.ok(isTombstone(body));
  }
});
