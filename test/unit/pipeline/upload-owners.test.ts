import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseTarget } from '../../../src/registry/target.ts';
import { createUploadOwners } from '../../../src/pipeline/authorize/upload-owners.ts';
import type { Secrets } from '../../../src/pipeline/authorize/derived-key.ts';
import { machinesNamed, principalOf, user } from '../../support/principals.ts';

const startMs = Date.parse('2030-01-01T00:00:00.000Z');
const graceMs = 60_000;
let nowMs = startMs;
const create = (...secrets: Secrets) => createUploadOwners(secrets, { graceMs, now: () => nowMs });
const owners = create(Buffer.alloc(32, 1));
const alice = user('alice');
const requestPath = '/v2/team/app/blobs/uploads/';
const session = '/v2/team/app/blobs/uploads/0123-abc';
const origin = owners.begin('token 1');
const mark = (location: string, name: string | null = 'alice', of = owners, began = origin) =>
  of.mark(location, requestPath, principalOf(name), began);
const unmark = (target: string, name: string | null = 'alice', of = owners) =>
  of.unmark(parseTarget(target), principalOf(name))?.rawTarget ?? null;
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

test('a mark is of one principal, repository, session, key, start and token', () => {
  const others = [
    mark(session, 'bob'),
    mark(session, null),
    mark(session, ''),
    mark(session, 'null'),
    mark('/v2/team/app2/blobs/uploads/0123-abc'),
    mark('/v2/team/app/blobs/uploads/0123-abd'),
    mark(session, 'alice', create(Buffer.alloc(32, 2))),
    mark(session, 'alice', owners, { ...origin, startedAt: origin.startedAt + 1 }),
    mark(session, 'alice', owners, owners.begin('token 2')),
    mark(session, 'alice', owners, owners.begin(null)),
    ...machinesNamed('alice').map((machine) => owners.mark(session, requestPath, machine, origin)),
  ];
  assert.equal(new Set([owner, ...others.map(ownerOf)]).size, others.length + 1);
  for (const other of [owner, ...others.map(ownerOf)]) assert.match(other, /^[\w-]{48}$/);
});

test('each part of a mark counts: none of its bits can be another', () => {
  const bytes = Buffer.from(owner, 'base64url');
  for (let bit = 0; bit < bytes.length * 8; bit += 1) {
    const forged = Buffer.from(bytes);
    forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.equal(unmark(`${session}?_owner=${forged.toString('base64url')}`), null, `bit ${bit}`);
  }
  assert.equal(unmark(`${session}?_owner=${bytes.toString('base64url')}`), session);
});

test('a mark has one spelling', () => {
  const text = owner.replaceAll('-', '+').replaceAll('_', '/');
  for (const other of [
    `${owner}=`,
    `${owner}A`,
    `%20${owner}`,
    `${owner}%0a`,
    `${owner.slice(0, 9)}.${owner.slice(9)}`,
    ...(text === owner ? [] : [encodeURIComponent(text)]),
  ])
    assert.equal(unmark(`${session}?_owner=${other}`), null, other);
});

test('later marks of a session say how it began', () => {
  const { origin: read } = owners.unmark(parseTarget(mark(session)), alice) ?? {};
  assert.deepEqual(read, origin);
  assert.equal(mark(session, 'alice', owners, read), mark(session));
});

describe('the grace of an upload', () => {
  const other = '/v2/team/app/blobs/uploads/other';
  const isInGrace = (target: string, tokenId = 'token 1', whose = alice, of = owners) =>
    of.isInGrace(parseTarget(target), whose, tokenId);
  const at = (ms: number, check: () => void) => {
    nowMs = startMs + ms;
    try {
      check();
    } finally {
      nowMs = startMs;
    }
  };

  test('lasts from the start, to the millisecond', () => {
    for (const [ms, expected] of [
      [0, true],
      [graceMs - 1, true],
      [graceMs, false],
      [graceMs * 1000, false],
    ] as const)
      at(ms, () => assert.equal(isInGrace(mark(session)), expected, `after ${ms} ms`));
  });

  test('is not renewed by a later mark', () => {
    at(graceMs - 1, () => {
      const { origin: read } = owners.unmark(parseTarget(mark(session)), alice) ?? {};
      const renewed = mark(session, 'alice', owners, read);
      assert.ok(isInGrace(renewed));
      at(graceMs, () => assert.ok(!isInGrace(renewed)));
    });
  });

  for (const [name, target, tokenId, whose] of [
    ['another token', mark(session), 'token 2', alice],
    ['no token’s id', mark(session), '', alice],
    ['another user', mark(session), 'token 1', user('bob')],
    ['another session with this one’s mark', `${other}?_owner=${owner}`, 'token 1', alice],
    ['a session without a mark', session, 'token 1', alice],
    ['a session begun without a token', mark(session, 'alice', owners, owners.begin(null)), '', alice],
    ['a session with two marks', `${mark(session)}&_owner=${owner}`, 'token 1', alice],
    ['a path that is no session', `${requestPath}?_owner=${owner}`, 'token 1', alice],
  ] as const)
    test(`is not for ${name}`, () => assert.equal(isInGrace(target, tokenId, whose), false));

  test('is none where it is 0', () => {
    const none = createUploadOwners([Buffer.alloc(32, 1)], { graceMs: 0, now: () => nowMs });
    assert.equal(isInGrace(mark(session), 'token 1', alice, none), false);
  });
});

describe('what has the form of a mark is removed, whoever it is of', () => {
  const foreign = ownerOf(mark(session, 'bob'));
  for (const [query, rest] of [
    [`?_owner=${foreign}`, ''],
    [`?a=%2b&_owner=${foreign}&&b`, '?a=%2b&&b'],
    [`?_owner=${foreign}&%5fowner=${owner}&x`, '?x'],
    ['?_owner=me&_state=x', '?_owner=me&_state=x'],
    ['?', '?'],
    ['', ''],
  ] as const)
    test(JSON.stringify(query), () =>
      assert.equal(owners.strip(parseTarget(session + query)), session + rest),
    );
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
      assert.equal(unmark(target.replace('OWNER', owner)), rest);
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
    test(name, () => assert.equal(unmark(target, whose), null));
  }
});

test('a secret is exchanged by putting the new one first, and the old one is good until it is removed', () => {
  const [older, newer] = [Buffer.alloc(32, 1), 'a new secret of more than thirty-two bytes'];
  const both = create(newer, older);
  assert.equal(unmark(mark(session), 'alice', both), session);
  const marked = mark(session, 'alice', both);
  assert.equal(unmark(marked, 'alice', create(newer)), session);
  assert.equal(unmark(marked), null);
  assert.ok(both.isInGrace(parseTarget(mark(session)), alice, 'token 1'));
});
