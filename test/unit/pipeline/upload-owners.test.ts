import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, test } from 'node:test';
import { parseTarget } from '../../../src/registry/target.ts';
import { createUploadOwners } from '../../../src/pipeline/authorize/upload-owners.ts';
import { deriveKey } from '../../../src/pipeline/authorize/derived-key.ts';
import { machinesNamed, principalOf, user } from '../../support/principals.ts';

const owners = createUploadOwners([Buffer.alloc(32, 1)]);
const alice = user('alice');
const requestPath = '/v2/team/app/blobs/uploads/';
const session = '/v2/team/app/blobs/uploads/0123-abc';
const mark = (location: string, name: string | null = 'alice', of = owners) =>
  of.mark(location, requestPath, principalOf(name));
const ownerOf = (location: string) => /_owner=([\w-]+)/.exec(location)?.[1] ?? '';
const owner = ownerOf(mark(session));

describe('a Location is marked', () => {
  for (const [location, marked] of [
    [session, `${session}?_owner=OWNER`],
    [`${session}?_state=a%2Bb%3D`, `${session}?_state=a%2Bb%3D&_owner=OWNER`],
    [`${session}?_state=x#there`, `${session}?_state=x&_owner=OWNER#there`],
    ['0123-abc', '0123-abc?_owner=OWNER'],
    ['../uploads/0123-abc?x', '../uploads/0123-abc?x&_owner=OWNER'],
    ['/v2/team/app/blobs/uploads/%30123-abc', '/v2/team/app/blobs/uploads/%30123-abc?_owner=OWNER'],
  ] as const) {
    test(location, () => assert.equal(mark(location), marked.replace('OWNER', owner)));
  }
});

describe('a Location is left alone', () => {
  for (const location of [
    '',
    '/v2/team/app/blobs/uploads/',
    `/v2/team/app/blobs/sha256:${'0'.repeat(64)}`,
    '/v1/team/app/blobs/uploads/0123',
    `https://storage.test${session}`,
    `//storage.test${session}`,
    'http://[',
    `${session}/%ff`,
  ]) {
    test(JSON.stringify(location), () => assert.equal(mark(location), location));
  }
});

test('a mark is of one principal, repository, session and key', () => {
  const others = [
    mark(session, 'bob'),
    mark(session, null),
    mark(session, ''),
    mark(session, 'null'),
    mark('/v2/team/app2/blobs/uploads/0123-abc'),
    mark('/v2/team/app/blobs/uploads/0123-abd'),
    mark(session, 'alice', createUploadOwners([Buffer.alloc(32, 2)])),
    ...machinesNamed('alice').map((machine) => owners.mark(session, requestPath, machine)),
  ];
  assert.equal(new Set([owner, ...others.map(ownerOf)]).size, others.length + 1);
  assert.match(owner, /^[\w-]{43}$/);
});

test('a mark of the version before is still that of its user', () => {
  const key = deriveKey(Buffer.alloc(32, 1), 'upload owner');
  const text = JSON.stringify(['alice', 'team/app', '0123-abc']);
  assert.equal(owner, createHmac('sha256', key).update(text).digest('base64url'));
});

describe('a mark is taken off, wherever it stands', () => {
  for (const [target, rest] of [
    [`${session}?_owner=OWNER`, session],
    [`${session}?_state=a%2Bb%3D&_owner=OWNER`, `${session}?_state=a%2Bb%3D`],
    [`${session}?_owner=OWNER&_state=a+b&digest=sha256%3A00`, `${session}?_state=a+b&digest=sha256%3A00`],
    [`${session}?b=&_owner=OWNER&&a`, `${session}?b=&&a`],
    [`${session}?%5Fowner=OWNER&x=_owner`, `${session}?x=_owner`],
    [`/v2/team/app/blobs/uploads/0123%2Dabc?_owner=OWNER`, '/v2/team/app/blobs/uploads/0123%2Dabc'],
  ] as const) {
    test(target, () => {
      assert.equal(owners.unmark(parseTarget(target.replace('OWNER', owner)), alice), rest);
    });
  }
});

describe('an upload is unknown', () => {
  for (const [name, target, whose] of [
    ['to another', `${session}?_owner=${owner}`, 'bob'],
    ['to a client without credentials', `${session}?_owner=${owner}`, null],
    ['without a mark', `${session}?_state=x`, 'alice'],
    ['without a query', session, 'alice'],
    ['with an empty mark', `${session}?_owner=`, 'alice'],
    ['with a part of its mark', `${session}?_owner=${owner.slice(0, -1)}`, 'alice'],
    ['with two marks', `${session}?_owner=${owner}&_owner=${owner}`, 'alice'],
    ['with two marks, one hidden', `${session}?_owner=${owner}&%5fowner=x`, 'alice'],
    ['with a mark that is not parted from others everywhere', `${session}?x;_owner=${owner}`, 'alice'],
    ['in another repository', `/v2/team/other/blobs/uploads/0123-abc?_owner=${owner}`, 'alice'],
    ['under another name', `/v2/team/app/blobs/uploads/other?_owner=${owner}`, 'alice'],
  ] as const) {
    test(name, () => assert.equal(owners.unmark(parseTarget(target), principalOf(whose)), null));
  }
});

test('a secret is exchanged by putting the new one first, and the old one is good until it is removed', () => {
  const [older, newer] = [Buffer.alloc(32, 1), 'a new secret of more than thirty-two bytes'];
  const both = createUploadOwners([newer, older]);
  assert.equal(both.unmark(parseTarget(mark(session)), alice), session);
  const marked = mark(session, 'alice', both);
  assert.equal(createUploadOwners([newer]).unmark(parseTarget(marked), alice), session);
  assert.equal(owners.unmark(parseTarget(marked), alice), null);
});
