import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseOperation } from '../../../src/registry/operation.ts';
import { tagChangeOf, type TagChange } from '../../../src/registry/tag-change.ts';
import { parseTarget } from '../../../src/registry/target.ts';

const digest = `sha256:${'0'.repeat(64)}`;
const push = {
  kind: 'push',
  repository: 'a/b',
  digest: null,
  tag: null,
  queryTags: [],
  isV1: false,
} as const;

const table: readonly (readonly [request: string, TagChange | 'unknown' | null])[] = [
  ['PUT /v2/a/b/manifests/v1', { ...push, tag: 'v1' }],
  [`PUT /v2/a/b/manifests/${digest}`, { ...push, digest }],
  [`PUT /v2/a/b/manifests/${digest}?tag=v1&tag=v2`, { ...push, digest, queryTags: ['v1', 'v2'] }],
  [`PUT /v2/a/b/manifests/${digest}?t%61g=v%31;tag=v2&tags=v3`, { ...push, digest, queryTags: ['v1', 'v2'] }],
  [
    `PUT /v2/a/b/manifests/${digest}?${'&tag=x'.repeat(30)}`,
    { ...push, digest, queryTags: Array<string>(30).fill('x') },
  ],
  ['PUT /v2/a/b/manifests/sha256%3A00', { ...push, digest: 'sha256:00' }],
  ['DELETE /v2/a/b/manifests/v1', { kind: 'delete-tag', repository: 'a/b', tag: 'v1' }],
  [
    `DELETE /v2/a/b/manifests/${digest}`,
    { kind: 'delete-digest', repository: 'a/b', digest, object: 'manifest' },
  ],
  [`DELETE /v2/a/b/blobs/${digest}`, { kind: 'delete-digest', repository: 'a/b', digest, object: 'blob' }],
  ['PUT /v1/repositories/b/tags/v1', { ...push, repository: 'library/b', tag: 'v1', isV1: true }],
  ['DELETE /v1/repositories/a/b/tags/v1', { kind: 'delete-tag', repository: 'a/b', tag: 'v1' }],
  ['DELETE /v1/repositories/a/b/tags', { kind: 'delete-all', repository: 'a/b' }],
  ['DELETE /v1/repositories/a/b/', { kind: 'delete-all', repository: 'a/b' }],
  ['PUT /v1/repositories/a/b/', null],
  ['PUT /v1/repositories/a/b/images', null],
  ['PUT /v1/images/0a/layer', null],
  ['POST /v1/users/', null],
  ['POST /v2/a/b/blobs/uploads/', null],
  ['DELETE /v2/a/b/blobs/uploads/1', null],
  ['POST /', null],
  ['POST /v2/a/b/manifests/v1', 'unknown'],
  ['PATCH /v2/a/b/manifests/v1', 'unknown'],
  ['PUT /v2/A/b/manifests/v1', 'unknown'],
  ['PUT /v2/a/b/manifests/.v1', 'unknown'],
  ['PUT /v2/a/b/tags/v1', 'unknown'],
  ['DELETE /v2/a/b', 'unknown'],
  ['PUT /v1/repositories/a/b/tags/v1/json', 'unknown'],
  ['DELETE /v1/repositories/a/b/tags/', 'unknown'],
];

for (const [request, expected] of table)
  test(request, () => {
    const [method = '', raw = ''] = request.split(' ');
    const target = parseTarget(raw);
    assert.deepEqual(tagChangeOf(parseOperation(method, target, new Set())), expected);
  });
