import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTombstone, mayBeTombstone, writeTombstone } from '../../../src/registry/tombstone.ts';

const nonce = '0123456789abcdef0123456789abcdef01234567';

test('a tombstone is told from every other manifest by its bytes', () => {
  const text = writeTombstone(nonce);
  assert.deepEqual((JSON.parse(text) as { manifests: unknown }).manifests, []);
  assert.equal(isTombstone(Buffer.from(text)), true);
  for (const other of [
    '',
    '{}',
    ` ${text}`,
    `${text}\n`,
    text.replace(nonce, nonce.slice(1)),
    text.replace(nonce, `${nonce}0`),
    text.replace(nonce, nonce.toUpperCase()),
    text.replace('[]', '[{}]'),
    text.replace('tombstone', 'other'),
  ])
    assert.equal(isTombstone(Buffer.from(other)), false, other);
});

test('a digest that begins otherwise is none', () => {
  assert.equal(mayBeTombstone(`sha256:dead${'0'.repeat(60)}`), true);
  for (const digest of [
    null,
    '',
    'sha256:dea',
    `sha256:beef${'0'.repeat(60)}`,
    `sha512:dead${'0'.repeat(124)}`,
  ])
    assert.equal(mayBeTombstone(digest), false, String(digest));
});
