import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createJudge } from '../../../src/policy/judgement.ts';
import { createReplay, maxReplayRows, type LoggedRequest } from '../../../src/policy/replay.ts';
import { principalText, type Job } from '../../../src/registry/principal.ts';
import { machineToken } from '../../support/principals.ts';

const digest = `sha256:${'0'.repeat(64)}`;
const judge = createJudge({
  groups: {},
  policy: [
    { who: ['user:root'], repositories: ['**'], actions: ['pull', 'push', 'delete'] },
    { who: ['anonymous', 'authenticated'], repositories: ['public/**'], actions: ['pull'] },
    { who: ['authenticated'], repositories: ['team/**'], actions: ['pull', 'push'] },
    { who: ['network:10.0.0.0/8'], repositories: ['hub/**'], actions: ['pull'] },
    { who: [{ oidc: 'ci', claims: { ref: 'main' } }], repositories: ['acme/**'], actions: ['pull'] },
  ],
  immutableTags: ['**:v*'],
});

const job: Job = { kind: 'job', issuer: 'ci', name: 'acme/app@main', claims: { ref: 'main' } };
const jobs = new Map([['job:ci acme/app@main', job]]);
const grants = new Map([['ci', machineToken('ci', { actions: ['pull'] }).grant]]);

function replay(...requests: readonly Partial<LoggedRequest>[]) {
  const { read, report } = createReplay({ judge, openPaths: new Set(['/_ping']), grants, jobs });
  for (const request of requests)
    read({
      ...{
        user: 'bob',
        client: '10.1.2.3',
        method: 'GET',
        path: null,
        status: 200,
        code: null,
        reason: null,
      },
      ...request,
    });
  return report();
}

/** What becomes of one request: a row's fields, or why there is none. */
function outcome(request: Partial<LoggedRequest>): string {
  const { judged, refused, allowed, lists, passedOver } = replay(request);
  const [why] = [...passedOver.keys()];
  if (why !== undefined) return why;
  assert.equal(judged, 1);
  const row = refused.rows[0] ?? allowed.rows[0];
  if (row === undefined) return lists === 1 ? 'list' : 'as before';
  const by = row.by.tagPattern === null ? `rule ${row.by.rule ?? 'none'}` : `tag ${row.by.tagPattern}`;
  const change = refused.requests === 1 ? 'refused' : 'allowed';
  return `${change}: ${principalText(row.principal) ?? 'nobody'} ${row.action} ${row.repository} by ${by}`;
}

const rows: readonly (readonly [request: Partial<LoggedRequest>, outcome: string])[] = [
  [{ path: '/v2/team/app/manifests/1' }, 'as before'],
  [{ method: 'PUT', path: '/v2/team/app/manifests/v1', status: 201 }, 'as before'],
  [
    { method: 'PUT', path: '/v2/public/app/manifests/1', status: 201 },
    'refused: bob push public/app by rule 2',
  ],
  [
    { method: 'DELETE', path: `/v2/team/app/blobs/${digest}`, status: 202 },
    'refused: bob delete team/app by rule 3',
  ],
  [{ path: '/v2/private/app/tags/list' }, 'refused: bob pull private/app by rule none'],
  [{ path: '/v2/private/app/manifests/none', status: 404 }, 'refused: bob pull private/app by rule none'],
  [
    { path: '/v2/private/app/manifests/1', status: 502, code: 'UPSTREAM_UNAVAILABLE' },
    'refused: bob pull private/app by rule none',
  ],
  [
    { path: '/v2/private/app/blobs/uploads/1b-2', method: 'PATCH', status: 413, code: 'SIZE_INVALID' },
    'refused: bob push private/app by rule none',
  ],
  [
    { user: 'root', method: 'DELETE', path: '/v2/team/app/manifests/v1', status: 202 },
    'refused: root delete team/app by tag 1',
  ],
  [{ user: 'root', method: 'DELETE', path: `/v2/team/app/manifests/${digest}`, status: 202 }, 'as before'],
  [
    { user: 'root', method: 'DELETE', path: '/v1/repositories/team/app/tags/v1' },
    'refused: root delete team/app by tag 1',
  ],
  [{ path: '/v1/images/0a/layer' }, 'refused: bob pull (all repositories) by rule none'],
  [{ user: 'root', path: '/v1/images/0a/layer' }, 'as before'],
  [
    { path: '/v2/team/app/what/ever', status: 404 },
    'refused: bob GET (a request of no known kind) by rule none',
  ],
  [{ path: '/v2/_catalog' }, 'list'],
  [{ path: '/v1/search', user: null }, 'list'],
  [
    { path: '/v2/team/app/manifests/1', status: 403, code: 'DENIED', reason: 'denied-by-rule-7' },
    'allowed: bob pull team/app by rule 3',
  ],
  [
    { path: '/v2/team/app/manifests/1', status: 404, code: 'NAME_UNKNOWN', reason: 'denied-by-no-rule' },
    'allowed: bob pull team/app by rule 3',
  ],
  [
    {
      user: null,
      path: '/v2/public/app/tags/list',
      status: 401,
      code: 'UNAUTHORIZED',
      reason: 'no-credentials',
    },
    'allowed: nobody pull public/app by rule 2',
  ],
  [
    {
      user: null,
      path: '/v2/team/app/tags/list',
      status: 401,
      code: 'UNAUTHORIZED',
      reason: 'no-credentials',
    },
    'as before',
  ],
  [{ user: null, path: '/v2/team/app/tags/list' }, 'refused: nobody pull team/app by rule none'],
  [{ user: null, path: '/v2/hub/app/tags/list' }, 'as before'],
  [
    { user: null, client: '11.1.2.3', path: '/v2/hub/app/tags/list' },
    'refused: nobody pull hub/app by rule none',
  ],
  [{ user: null, client: null, path: '/v2/hub/a/tags/list' }, 'refused: nobody pull hub/a by rule none'],
  [{ path: '/v2/hub/app/tags/list' }, 'refused: bob pull hub/app by rule none'],
  [{ path: '/v2/team/x/y', status: 403, code: 'DENIED', reason: 'denied-unknown-request' }, 'as before'],
  [
    {
      user: null,
      path: '/v2/public/a/tags/list',
      status: 401,
      code: 'UNAUTHORIZED',
      reason: 'wrong-credentials',
    },
    'it was refused for another reason',
  ],
  [
    { path: '/v2/private/a/tags/list', status: 429, code: 'TOOMANYREQUESTS', reason: 'too-many-uploads' },
    'it was refused for another reason',
  ],
  [
    { path: '/v2/private/a/tags/list', status: 400, code: 'BAD_REQUEST' },
    'it was refused for another reason',
  ],
  [{ user: 'token:bob', path: '/v2/team/app/manifests/1' }, 'who sent it is not known now'],
  [{ user: 'job:ci a/b', path: '/v2/team/app/manifests/1' }, 'no --oidc-claims are of its job'],
  [{ user: 'job:ci acme/app@main', path: '/v2/acme/app/manifests/1' }, 'as before'],
  [
    { user: 'job:ci acme/app@main', method: 'PUT', path: '/v2/acme/app/manifests/1', status: 201 },
    'refused: job:ci acme/app@main push acme/app by rule 5',
  ],
  [
    { user: 'job:ci acme/app@main', path: '/v2/team/app/manifests/1' },
    'refused: job:ci acme/app@main pull team/app by rule none',
  ],
  [{ user: 'job:ci acme/app@main', path: '/v2/_catalog' }, 'list'],
  [{ user: null, path: '/_ping' }, 'it needs no right in a repository'],
  [{ user: null, path: '/v2/' }, 'it needs no right in a repository'],
  [{ path: '/token' }, 'it asked for a token'],
  [{ user: null, path: '/token', method: 'POST' }, 'it asked for a token'],
  [{ path: '/elsewhere' }, 'it was not a path of a registry'],
  [{ path: '/v2/a/../b/manifests/1' }, 'it was not a path of a registry'],
  [{ path: null }, 'it was not a path of a registry'],
  [{ path: `/v2/${'a'.repeat(600)}`.slice(0, 512) }, 'its path is cut in the log'],
];

describe('a replay', () => {
  for (const [request, expected] of rows)
    it(`${JSON.stringify(request)}: ${expected}`, () => {
      assert.equal(outcome(request), expected);
    });

  it('counts what is alike together, most first', () => {
    const push = { method: 'PUT', path: '/v2/public/app/manifests/1', status: 201 };
    const pull = { path: '/v2/private/app/manifests/1' };
    const { refused, judged } = replay(push, pull, pull, push, pull, { ...pull, user: 'carl' });
    assert.equal(judged, 6);
    assert.equal(refused.requests, 6);
    assert.deepEqual(
      refused.rows.map(({ principal, action, requests }) => [principalText(principal), action, requests]),
      [
        ['bob', 'pull', 3],
        ['bob', 'push', 2],
        ['carl', 'pull', 1],
      ],
    );
  });

  it('keeps a bounded number of rows, and counts the rest', () => {
    const { read, report } = createReplay({ judge, openPaths: new Set(), grants: null, jobs });
    for (let index = 0; index < maxReplayRows + 10; index += 1)
      read({
        user: 'bob',
        client: null,
        method: 'GET',
        path: `/v2/x${index}/tags/list`,
        status: 200,
        code: null,
        reason: null,
      });
    const { refused } = report();
    assert.equal(refused.rows.length, maxReplayRows);
    assert.equal(refused.requests, maxReplayRows + 10);
  });
});
