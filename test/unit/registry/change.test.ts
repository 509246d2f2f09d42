import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeOf } from '../../../src/registry/change.ts';
import { parseOperation } from '../../../src/registry/operation.ts';
import { parseTarget } from '../../../src/registry/target.ts';

const digest = `sha256:${'ab'.repeat(32)}`;
const describeChange = (method: string, raw: string) => {
  const target = parseTarget(raw);
  const change = changeOf(parseOperation(method, target, new Set()));
  if (change === null) return null;
  const { action, object, repository, tag, furtherTags, isV1 } = change;
  return [action, object, repository, tag ?? change.digest, ...furtherTags, ...(isV1 ? ['v1'] : [])];
};

for (const [method, target, expected] of [
  ['PUT', '/v2/team/app/manifests/1', ['push', 'tag', 'team/app', '1']],
  ['PUT', '/v2/app/manifests/v%31', ['push', 'tag', 'app', 'v1']],
  ['PUT', `/v2/app/manifests/${digest}`, ['push', 'manifest', 'app', digest]],
  [
    'PUT',
    `/v2/app/manifests/${digest.replace(':', '%3A')}?tag=a&tag=b`,
    ['push', 'manifest', 'app', digest, 'a', 'b'],
  ],
  ['PUT', '/v2/app/manifests/1?tag=a', ['push', 'tag', 'app', '1']],
  ['DELETE', '/v2/app/manifests/1', ['delete', 'tag', 'app', '1']],
  ['DELETE', `/v2/app/manifests/${digest}?tag=a`, ['delete', 'manifest', 'app', digest]],
  ['DELETE', `/v2/app/blobs/${digest}`, ['delete', 'blob', 'app', digest]],
  ['PUT', '/v1/repositories/library/app/tags/1', ['push', 'tag', 'library/app', '1', 'v1']],
  ['PUT', '/v1/repositories/app/tags/1', ['push', 'tag', 'library/app', '1', 'v1']],
  ['DELETE', '/v1/repositories/library/app/tags/1', ['delete', 'tag', 'library/app', '1', 'v1']],
  ['DELETE', '/v1/repositories/library/app/tags', ['delete', 'repository', 'library/app', null, 'v1']],
  ['DELETE', '/v1/repositories/library/app/', ['delete', 'repository', 'library/app', null, 'v1']],
  ['GET', '/v2/app/manifests/1', null],
  ['POST', '/v2/app/manifests/1', null],
  ['PUT', '/v2/app/blobs/uploads/1?digest=x', null],
  ['DELETE', '/v2/app/blobs/uploads/1', null],
  ['PATCH', '/v2/app/blobs/uploads/1', null],
  ['PUT', '/v1/repositories/library/app/', null],
  ['PUT', '/v1/images/0a/layer', null],
  ['DELETE', '/v1/repositories/', null],
  ['DELETE', '/v2/', null],
] as const) {
  test(`${method} ${target.slice(0, 60)}`, () => assert.deepEqual(describeChange(method, target), expected));
}
