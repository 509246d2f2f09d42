import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createCredentialCache } from '../../../src/auth/credential-cache.ts';
import { user } from '../../support/principals.ts';

describe('createCredentialCache', () => {
  let nowMs = 0;
  const create = (ttlMs = 1000, maxEntries = 10) =>
    createCredentialCache({ ttlMs, maxEntries, now: () => nowMs });

  it('forgets after the TTL, counted from remembering, however often it is used', () => {
    const cache = create();
    const key = cache.keyOf('alice', 'secret', 'hash');
    assert.equal(cache.get(key), undefined);
    cache.remember(key, user('alice'));
    nowMs += 600;
    assert.deepEqual(cache.get(key), user('alice'));
    nowMs += 399;
    assert.deepEqual(cache.get(key), user('alice'));
    nowMs += 1;
    assert.equal(cache.get(key), undefined);
  });

  it('holds no more than maxEntries, the least recently used goes first', () => {
    const cache = create(1000, 2);
    for (const name of ['a', 'b']) cache.remember(cache.keyOf(name), user(name));
    cache.get(cache.keyOf('a'));
    cache.remember(cache.keyOf('c'), user('c'));
    assert.deepEqual(
      ['a', 'b', 'c'].map((name) => cache.get(cache.keyOf(name))?.name),
      ['a', undefined, 'c'],
    );
  });

  it('keys tell the parts apart, and differ from cache to cache', () => {
    const cache = create();
    const keys = [
      ['ab', 'c'],
      ['a', 'bc'],
      ['abc', ''],
      ['a', '1:b'],
      ['abc'],
      ['1:a', 'b'],
      ['é', 'x'],
      ['e\u0301', 'x'],
    ].map((parts) => cache.keyOf(...parts));
    assert.equal(new Set(keys).size, keys.length);
    assert.equal(cache.keyOf('a', 'b'), cache.keyOf('a', 'b'));
    assert.notEqual(cache.keyOf('a', 'b'), create().keyOf('a', 'b'));
  });

  it('clear forgets everything', () => {
    const cache = create();
    cache.remember(cache.keyOf('a'), user('a'));
    cache.clear();
    assert.equal(cache.get(cache.keyOf('a')), undefined);
  });
});
