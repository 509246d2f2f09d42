import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { accessOf as readAccess, type Access } from '../../../src/registry/access.ts';
import { parseMount } from '../../../src/registry/mount.ts';
import { parseOperation } from '../../../src/registry/operation.ts';
import { parseTarget } from '../../../src/registry/target.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const session = '6f1c2a9e-0b1d-4c7e-9a55-1f2e3d4c5b6a';

function accessOf(request: string): Access | null {
  const [method = '', raw = ''] = request.split(' ');
  const target = parseTarget(raw);
  return readAccess(parseOperation(method, target, new Set(['/_ping', '/v1/_ping'])));
}

/** Every request of the protocols, with what it asks for. */
const requests: Readonly<Record<string, readonly string[]>> = {
  free: ['GET /v2/', 'HEAD /v2/', 'GET /_ping', 'GET /v1/_ping', 'GET /', 'GET /v1/users/', 'GET /v1/users'],
  catalog: ['GET /v2/_catalog', 'HEAD /v2/_catalog', 'GET /v2/_catalog?n=10&last=x'],
  search: ['GET /v1/search', 'GET /v1/search?q=x'],
  'team/app pull': [
    'GET /v2/team/app/manifests/latest',
    'HEAD /v2/team/app/manifests/latest',
    `GET /v2/team/app/manifests/${digest}`,
    'GET /v2/team/app/manifests/sha256%3Aabcdef',
    `GET /v2/team/app/blobs/${digest}`,
    `HEAD /v2/team/app/blobs/${digest}`,
    'GET /v2/team/app/tags/list',
    'GET /v2/team/app/tags/list?n=1',
    `GET /v2/team/app/referrers/${digest}`,
    `GET /v2/team/app/referrers/${digest}?artifactType=x`,
    'GET /v2/te%61m/app/tags/list',
    'GET /v1/repositories/team/app/tags',
    'GET /v1/repositories/team/app/tags/latest',
    'GET /v1/repositories/team/app/tags/latest/json',
    'GET /v1/repositories/team/app/images',
    'GET /v1/repositories/team/app/json',
    'GET /v1/repositories/team/app/properties',
  ],
  'team/app push': [
    'PUT /v2/team/app/manifests/latest',
    `PUT /v2/team/app/manifests/${digest}?tag=v1`,
    'PUT /v1/repositories/team/app/',
    'PUT /v1/repositories/team/app',
    'PUT /v1/repositories/team/app/images',
    'PUT /v1/repositories/team/app/tags/latest',
    'PUT /v1/repositories/team/app/auth',
    'PUT /v1/repositories/team/app/properties',
  ],
  'team/app delete': [
    'DELETE /v2/team/app/manifests/latest',
    `DELETE /v2/team/app/manifests/${digest}`,
    `DELETE /v2/team/app/blobs/${digest}`,
    'DELETE /v1/repositories/team/app/',
    'DELETE /v1/repositories/team/app/tags',
    'DELETE /v1/repositories/team/app/tags/latest',
  ],
  'team/app push start': [
    'POST /v2/team/app/blobs/uploads/',
    `POST /v2/team/app/blobs/uploads/?mount=${digest}&from=other`,
    `POST /v2/team/app/blobs/uploads/?digest=${digest}`,
  ],
  'team/app push session': ['GET', 'HEAD', 'PATCH', 'PUT', 'DELETE'].map(
    (method) => `${method} /v2/team/app/blobs/uploads/${session}?_state=x`,
  ),
  'library/app pull': ['GET /v1/repositories/app/tags', 'GET /v1/repositories/library/app/tags'],
  'a/blobs/uploads pull': ['GET /v2/a/blobs/uploads/tags/list', 'GET /v2/a/blobs/uploads/manifests/latest'],
  'a/manifests/b pull': ['GET /v2/a/manifests/b/manifests/c'],
  'tags/list pull': ['GET /v2/tags/list/tags/list'],
  'all pull': [
    'GET /v1/images/0a/json',
    'GET /v1/images/0a/layer',
    'HEAD /v1/images/0a/layer',
    'GET /v1/images/0a/ancestry',
    'GET /v1/private_images/0a/layer',
  ],
  'all push': ['PUT /v1/images/0a/json', 'PUT /v1/images/0a/layer', 'PUT /v1/images/0a/checksum'],
  refused: [
    'POST /v2/',
    'DELETE /v2/',
    'GET /v2',
    'POST /v2/_catalog',
    'DELETE /v2/_catalog',
    'GET /v2/_catalog/',
    'GET /v2/tags/list',
    'GET /v2/manifests/latest',
    'GET /v2/team/app',
    'GET /v2/team/app/',
    'GET /v2/team/app/manifests/',
    'GET /v2/team/app/manifests/latest/',
    'GET /v2/team/app/tags/list/',
    'GET /v2/team/app/tags',
    'GET /v2/team/app/referrers/latest',
    'PUT /v2/team/app/referrers/sha256:aa',
    'POST /v2/team/app/manifests/latest',
    'PATCH /v2/team/app/manifests/latest',
    'OPTIONS /v2/team/app/manifests/latest',
    'PUT /v2/team/app/tags/list',
    'GET /v2/team/app/blobs/latest',
    `PUT /v2/team/app/blobs/${digest}`,
    `POST /v2/team/app/blobs/${digest}`,
    'POST /v2/team/app/blobs/uploads',
    'GET /v2/team/app/blobs/uploads/',
    'PUT /v2/team/app/blobs/uploads/',
    `POST /v2/team/app/blobs/uploads/${session}`,
    `PATCH /v2/team/app/blobs/uploads/${session}/x`,
    'GET /v2/Team/app/tags/list',
    'GET /v2/team/-app/tags/list',
    'GET /v2/team/app_/manifests/latest',
    'GET /v2/host:5000/app/manifests/latest',
    'GET /v2/team%20a/manifests/latest',
    `GET /v2/${'a'.repeat(256)}/manifests/latest`,
    `GET /v2/team/app/manifests/${'t'.repeat(129)}`,
    'GET /v2/team/app/manifests/-x',
    'GET /elsewhere',
    'POST /',
    'POST /v1/users/',
    'PUT /v1/users/bob',
    'GET /v1/',
    'GET /v1/_status',
    'DELETE /v1/images/0a/json',
    'GET /v1/images/0a',
    'GET /v1/images/0a/elsewhere',
    'PUT /v1/repositories/app/tags',
    'DELETE /v1/repositories/team/app/images',
    'DELETE /v1/repositories/app/auth',
    'GET /v1/repositories/a/tags/tags',
    'GET /v1/repositories/a/tags/json',
    'GET /v1/repositories/a/tags/images',
    'GET /v1/repositories/a/b/c/tags',
    'GET /v1/repositories/Team/app/tags',
  ],
};

describe('what a request asks for', () => {
  for (const [expected, lines] of Object.entries(requests)) {
    for (const line of lines) {
      test(`${line.slice(0, 100)}: ${expected}`, () => {
        assert.equal(name(accessOf(line)), expected);
      });
    }
  }
});

function name(access: Access | null): string {
  if (access === null) return 'refused';
  if (access.kind === 'all-repositories') return `all ${access.action}`;
  if (access.kind !== 'repository') return access.kind;
  const { repository, action, upload } = access;
  return [repository, action, ...(upload === null ? [] : [upload])].join(' ');
}

describe('a mount', () => {
  const path = '/v2/a/blobs/uploads/';
  for (const [query, from, without] of [
    ['?mount=D&from=b', 'b', ''],
    ['?from=b%2Fc&mount=D', 'b/c', ''],
    ['?mount=D', null, ''],
    ['?from=b', null, ''],
    ['?mount=D&from=b&from=c', null, ''],
    ['?mount=D&mount=E&from=b', null, ''],
    ['?mount=D;from=b', null, ''],
    ['?x=1&mount=D&y=%20+z&from=b&', 'b', '?x=1&y=%20+z&'],
    ['?m%6funt=D&fro%6D=b', 'b', ''],
  ] as const) {
    test(query, () => {
      assert.deepEqual(parseMount(parseTarget(path + query)), { from, rawTargetWithout: path + without });
    });
  }
  for (const query of ['', '?', '?digest=D', '?mounts=D&fro=b', '?x=mount', '?Mount=D&From=b']) {
    test(`is not in ${JSON.stringify(query)}`, () => {
      assert.equal(parseMount(parseTarget(path + query)), null);
    });
  }
});
