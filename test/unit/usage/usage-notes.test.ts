import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createUsageBuffer, type UsageBatch } from '../../../src/usage/usage-buffer.ts';
import { createUsageNotes, type UsedExchange } from '../../../src/usage/usage-notes.ts';
import { parseOperation } from '../../../src/registry/operation.ts';
import { parseTarget } from '../../../src/registry/target.ts';
import { anonymous } from '../../../src/registry/principal.ts';
import { machineToken } from '../../support/principals.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const alice = { kind: 'user', name: 'alice' } as const;
const exchangeOf = (request: string, more: Partial<UsedExchange> = {}): UsedExchange => {
  const [method = '', target = ''] = request.split(' ');
  return {
    method,
    operation: parseOperation(method, parseTarget(target), new Set()),
    routeKind: null,
    principal: alice,
    userAgent: 'docker/28.2.2 go/go1.24.3',
    clientAddress: '192.0.2.1',
    manifestDigest: digest,
    res: { statusCode: 200, writableFinished: true },
    ...more,
  };
};

/** What these exchanges come to. */
async function note(...exchanges: readonly UsedExchange[]): Promise<UsageBatch> {
  const taken: UsageBatch[] = [];
  const notes = createUsageNotes({
    sink: {
      add: (batch) => {
        taken.push(batch);
        return Promise.resolve();
      },
    },
    now: () => 1000,
  });
  for (const exchange of exchanges) notes.finished(exchange);
  await notes.close();
  return taken[0] ?? { manifests: [], users: [], changes: [], dropped: 0 };
}

describe('what of a request is noted', () => {
  for (const [what, exchange, counted] of [
    ['a pull by tag', exchangeOf('GET /v2/a/manifests/1'), [1, 0]],
    ['a pull by digest', exchangeOf(`GET /v2/a/manifests/${digest}`), [1, 0]],
    [
      'a push',
      exchangeOf('PUT /v2/a/manifests/1', { res: { statusCode: 201, writableFinished: true } }),
      [0, 1],
    ],
    ['a HEAD', exchangeOf('HEAD /v2/a/manifests/1'), null],
    [
      'a 304',
      exchangeOf('GET /v2/a/manifests/1', { res: { statusCode: 304, writableFinished: true } }),
      null,
    ],
    [
      'a 404',
      exchangeOf('GET /v2/a/manifests/1', { res: { statusCode: 404, writableFinished: true } }),
      null,
    ],
    [
      'one broken off',
      exchangeOf('GET /v2/a/manifests/1', { res: { statusCode: 200, writableFinished: false } }),
      null,
    ],
    ['a delete', exchangeOf(`DELETE /v2/a/manifests/${digest}`), null],
    ['a layer', exchangeOf(`GET /v2/a/blobs/${digest}`), null],
    ['a list', exchangeOf('GET /v2/a/tags/list'), null],
  ] as const)
    test(what, async () => {
      const { manifests } = await note(exchange);
      assert.deepEqual(manifests.map(({ pulls, pushes }) => [pulls, pushes])[0] ?? null, counted);
    });

  test('by whom', async () => {
    for (const [principal, text] of [
      [alice, 'alice'],
      [machineToken('ci'), 'token:ci'],
      [{ kind: 'job', issuer: 'github', name: 'acme/app', claims: {} }, 'job:github acme/app'],
      [anonymous, 'anonymous'],
      [{ kind: 'user', name: 'anonymous' }, 'user:anonymous'],
    ] as const) {
      const { manifests } = await note(exchangeOf('GET /v2/a/manifests/1', { principal }));
      assert.equal(manifests[0]?.pulledBy, text);
    }
  });

  test('equal uses are one entry', async () => {
    const { manifests, users } = await note(
      ...Array.from({ length: 50 }, () => exchangeOf('GET /v2/a/manifests/1')),
    );
    assert.deepEqual(
      manifests.map(({ pulls, digest: led }) => [pulls, led]),
      [[50, digest]],
    );
    assert.deepEqual(users, [{ user: 'alice', family: 'docker', logins: 0, addresses: ['192.0.2.1'] }]);
  });

  test('a login is a version check or a token, of users alone', async () => {
    const { users } = await note(
      exchangeOf('GET /v2/'),
      exchangeOf('GET /token', { operation: null, routeKind: 'token' }),
      exchangeOf('GET /v2/', { res: { statusCode: 401, writableFinished: true } }),
      exchangeOf('GET /v2/', { principal: machineToken('ci') }),
    );
    assert.deepEqual(users, [{ user: 'alice', family: 'docker', logins: 2, addresses: ['192.0.2.1'] }]);
  });
});

describe('the buffer of uses', () => {
  test('drops and counts what has no room, and takes in parts', () => {
    const buffer = createUsageBuffer({ maxEntries: 10, maxBytes: 1e6 });
    for (let i = 0; i < 15; i += 1) buffer.manifest('a', `t${i}`, null);
    const known = buffer.manifest('a', 't3', null) ?? assert.fail();
    known.pulls += 1;
    const first = buffer.take(4);
    assert.deepEqual([first?.manifests.length, first?.dropped], [4, 5]);
    assert.deepEqual(first?.manifests[3]?.pulls, 1);
    assert.deepEqual([buffer.take(100)?.manifests.length, buffer.take(100)], [6, null]);
  });

  test('is bounded in bytes too', () => {
    const buffer = createUsageBuffer({ maxEntries: 1e6, maxBytes: 40_000 });
    for (let i = 0; i < 1000; i += 1) buffer.manifest('a', `${'t'.repeat(100)}${i}`, digest);
    const { manifests, dropped } = buffer.take(1e6) ?? assert.fail();
    assert.ok(manifests.length > 10 && manifests.length < 50);
    assert.equal(manifests.length + dropped, 1000);
    assert.ok(buffer.manifest('a', 'again', null));
    assert.equal(buffer.take(1)?.manifests.length, 1);
  });

  test('adds batches up: a tag that moved is two entries, and the latest use counts', () => {
    const [one, other] = [createUsageBuffer(room), createUsageBuffer(room)];
    for (const [buffer, atMs, by] of [
      [one, 2000, 'late'],
      [other, 1000, 'early'],
    ] as const) {
      const use = buffer.manifest('a', 'v1', digest) ?? assert.fail();
      Object.assign(use, { pulls: 2, pulledMs: atMs, pulledBy: by });
      buffer.manifest('a', 'v1', `sha256:${'b'.repeat(64)}`);
    }
    one.addBatch(other.take(10) ?? assert.fail());
    const { manifests } = one.take(10) ?? assert.fail();
    assert.deepEqual(
      manifests.map(({ pulls, pulledMs, pulledBy, pushedMs }) => [pulls, pulledMs, pulledBy, pushedMs]),
      [
        [4, 2000, 'late', null],
        [0, null, null, null],
      ],
    );
  });
  const room = { maxEntries: 10, maxBytes: 1e6 };
});
