import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { coversPermission, formatScope, parseScopes } from '../../../src/registry/token-scope.ts';

describe('parseScopes', () => {
  for (const [texts, expected] of [
    [[], ''],
    [[''], ''],
    [['repository:a/b:pull'], 'repository:a/b:pull'],
    [['repository:a/b:push,pull'], 'repository:a/b:pull,push'],
    [['repository:a/b:*'], 'repository:a/b:pull,push,delete'],
    [
      ['repository:a:pull repository:b:push', 'repository:a:delete'],
      'repository:a:pull,delete repository:b:push',
    ],
    [['repository(plugin):a/b:pull'], 'repository:a/b:pull'],
    [['repository:a/b:pull,overwrite,admin'], 'repository:a/b:pull'],
    [['registry:catalog:*'], 'registry:catalog:*'],
    // None of what is asked for here is anything.
    [['registry:other:*', 'plugin:a:pull', 'repository', 'repository:a', 'repository::pull'], ''],
    [['repository:A:pull', 'repository:a//b:pull', 'repository:../a:pull', 'repository:a\n:pull'], ''],
    [[`repository:${'a'.repeat(256)}:pull`], ''],
    [['repository:host:5000/a:pull'], ''],
  ] as const) {
    test(JSON.stringify(texts).slice(0, 90), () => {
      assert.equal(parseScopes(texts).map(formatScope).join(' '), expected);
    });
  }

  test('32 are as many as there may be', () => {
    const scopes = Array.from({ length: 32 }, (_, i) => `repository:a${i}:pull`);
    assert.equal(parseScopes([scopes.join(' ')]).length, 32);
    assert.throws(() => parseScopes([...scopes, 'x']), RangeError);
  });

  test('a scope covers its own repository and actions alone', () => {
    const scopes = parseScopes(['repository:a:pull', 'registry:catalog:*']);
    assert.equal(coversPermission(scopes, { repository: 'a', action: 'pull' }), true);
    assert.equal(coversPermission(scopes, { repository: 'a', action: 'push' }), false);
    assert.equal(coversPermission(scopes, { repository: 'a/b', action: 'pull' }), false);
    assert.equal(coversPermission(scopes, { repository: 'catalog', action: 'pull' }), false);
  });
});
