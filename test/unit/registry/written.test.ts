import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cacheableOf, writtenOf } from '../../../src/cache/cacheable.ts';
import { parseOperation } from '../../../src/registry/operation.ts';
import { parseTarget } from '../../../src/registry/target.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const all = 'all';

/** A write, and the scope and items that it makes out of date; null for none. */
const rows: readonly (readonly [string, string, readonly [string, readonly string[] | 'all'] | null])[] = [
  ['PUT', '/v2/team/app/manifests/v1', ['v2:team/app', ['v1']]],
  ['PUT', `/v2/team/app/manifests/${digest}`, ['v2:team/app', [digest]]],
  ['PUT', `/v2/team/app/manifests/${digest}?tag=v1`, ['v2:team/app', all]],
  ['DELETE', '/v2/team/app/manifests/v1', ['v2:team/app', ['v1']]],
  ['DELETE', '/v2/team/app/manifests/v1?x', ['v2:team/app', all]],
  ['DELETE', `/v2/team/app/manifests/${digest}`, ['v2:team/app', all]],
  ['DELETE', `/v2/team/app/manifests/${digest.replace(':', '%3A')}`, ['v2:team/app', all]],
  ['PATCH', `/v2/team/app/manifests/${digest}`, ['v2:team/app', all]],
  ['DELETE', `/v2/team/app/blobs/${digest}`, ['v2:team/app', all]],
  ['DELETE', `/v2/team/app/blobs/${digest.replace(':', '%3a')}`, ['v2:team/app', all]],
  ['DELETE', `/v2/team/app/blobs/sha512:${'a'.repeat(128)}`, ['v2:team/app', all]],
  ['POST', '/v2/team/app/blobs/uploads/', null],
  ['POST', `/v2/team/app/blobs/uploads/?mount=${digest}&from=team/base`, null],
  ['PATCH', '/v2/team/app/blobs/uploads/1-2-3', null],
  ['PUT', `/v2/team/app/blobs/uploads/1-2-3?digest=${digest}`, null],
  ['DELETE', '/v2/team/app/blobs/uploads/1-2-3', null],
  ['PUT', '/v1/images/0a/json', ['v1-image:0a', all]],
  ['PUT', '/v1/repositories/app/tags/v1', ['v1:library/app', all]],
  ['DELETE', '/v1/repositories/team/app/tags/v1', ['v1:team/app', all]],
  ['DELETE', '/v1/repositories/team/app/', ['v1:team/app', all]],
  ['PUT', '/v1/users/alice', null],
];

for (const [method, raw, expected] of rows)
  test(`${method} ${raw} makes ${expected ? `${expected[0]} ${String(expected[1])}` : 'nothing'} out of date`, () => {
    const written = writtenOf(parseOperation(method, parseTarget(raw), new Set()));
    assert.deepEqual(written && [written.scope, written.items], expected);
  });

test('what can be answered from the cache is made out of date by a write to the same path', () => {
  const paths = [
    '/v2/app/manifests/v1',
    `/v2/app/manifests/${digest}`,
    '/v1/images/0a/json',
    '/v1/images/0a/ancestry',
    '/v1/repositories/app/tags',
    '/v1/repositories/team/app/tags/v1',
  ];
  for (const raw of paths) {
    const target = parseTarget(raw);
    const read = cacheableOf(parseOperation('GET', target, new Set()), target.path);
    const written = writtenOf(parseOperation('PUT', target, new Set()));
    assert.equal(written?.scope, read?.scope);
    assert.ok(written?.items === 'all' || written?.items.includes(read?.item ?? ''));
  }
});
