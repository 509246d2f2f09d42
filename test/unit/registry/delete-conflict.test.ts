import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseOperation } from '../../../src/registry/operation.ts';
import { deleteConflictOf } from '../../../src/registry/delete-conflict.ts';
import { parseTarget } from '../../../src/registry/target.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const session = '/v2/team/app/blobs/uploads/1-2-3';

const sha512 = `sha512:${'b'.repeat(128)}`;

/** `delete REPOSITORY`, or what it may not meet one in (D: the digest), and from where on; null: it may meet anything. */
const rows: readonly (readonly [string, string, string | null])[] = [
  ['GET', '/v2/team/app/manifests/v1', 'team/app from head'],
  ['HEAD', `/v2/team/app/manifests/${digest.replace(':', '%3A')}`, 'team/app,D from head'],
  ['PUT', '/v2/team/app/manifests/v1', 'team/app from body'],
  ['DELETE', '/v2/team/app/manifests/v1', 'delete team/app'],
  ['PUT', `/v2/team/app/manifests/${digest}`, 'team/app,D from body'],
  ['PUT', `/v2/team/app/manifests/${sha512}`, 'team/app,digest:other from body'],
  ['DELETE', `/v2/team/app/manifests/${digest}?x=y`, 'delete team/app,D'],
  ['GET', `/v2/team/app/blobs/${digest}`, 'team/app,D from head'],
  ['GET', `/v2/team/app/blobs/${sha512}`, 'team/app,digest:other from head'],
  ['GET', '/v2/team/app/blobs/none', 'team/app,digest:other from head'],
  ['HEAD', `/v2/team/%61pp/blobs/${digest}`, 'team/app,D from head'],
  ['DELETE', `/v2/team/app/blobs/${digest}`, 'delete team/app,D'],
  ['POST', '/v2/team/app/blobs/uploads/', null],
  ['POST', `/v2/team/app/blobs/uploads/?digest=${digest}`, 'team/app,D from body'],
  ['POST', `/v2/team/app/blobs/uploads/?mount=${digest}&from=base`, 'team/app,base,D from head'],
  ['POST', `/v2/team/app/blobs/uploads/?mount=${digest}&from=team%2Fapp`, 'team/app,D from head'],
  ['POST', `/v2/team/app/blobs/uploads/?from=a&mount=${digest};from=b`, 'team/app,a,b,D from head'],
  ['POST', `/v2/team/app/blobs/uploads/?mount=${digest}`, 'team/app,D from head'],
  ['PATCH', session, null],
  ['GET', session, null],
  ['DELETE', session, null],
  ['PUT', `${session}?digest=${digest}`, 'team/app,D from body'],
  ['PUT', session, 'team/app,digest:other from body'],
  ['PUT', `${session}?digest=${sha512}&digest=${digest}`, 'team/app,digest:other,D from body'],
  ['PUT', `${session}?digest=${digest.toUpperCase()}`, 'team/app,digest:other from body'],
  ['GET', '/v2/team/app/tags/list', null],
  ['GET', `/v2/team/app/referrers/${digest}`, null],
  ['OPTIONS', '/v2/team/app/manifests/v1', null],
  ['GET', '/v2/', null],
  ['GET', '/v2/_catalog', null],
  ['GET', '/v1/repositories/app/tags', 'library/app from head'],
  ['PUT', '/v1/repositories/team/app/tags/v1', 'team/app from body'],
  ['DELETE', '/v1/repositories/app/tags/v1', 'delete library/app'],
  ['DELETE', '/v1/repositories/team/app/tags', 'delete team/app'],
  ['DELETE', '/v1/repositories/team/app/', 'delete team/app'],
  ['PUT', '/v1/images/0a/layer', null],
];

for (const [method, raw, expected] of rows)
  test(`${method} ${raw}: ${expected ?? 'anything'}`, () => {
    const race = deleteConflictOf(parseOperation(method, parseTarget(raw), new Set()));
    const text =
      race?.kind === 'delete'
        ? `delete ${[race.repository, ...race.digests].join()}`
        : race && `${[...race.repositories, ...race.digests].join()} from ${race.from}`;
    assert.equal(text?.replace(digest, 'D') ?? null, expected);
  });

test('a mount that names many sources has but a few looked at', () => {
  const from = Array.from({ length: 1000 }, (_, i) => `from=r${i}`).join('&');
  const race = deleteConflictOf(
    parseOperation('POST', parseTarget(`/v2/app/blobs/uploads/?mount=${digest}&${from}`), new Set()),
  );
  assert.equal(race?.kind === 'other' && race.repositories.length, 8);
});
