import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeReadiness, type ReadinessFacts } from '../../../src/admin/readiness.ts';

const nowMs = Date.UTC(2026, 0, 1);
const well: ReadinessFacts = {
  upstream: { kind: 'up', status: 200, ms: 1 },
  routes: [],
  certificateEndMs: nowMs + 1,
  certificate: { origin: 'files', acme: null },
  workers: { wanted: 2, serving: 1 },
  isDraining: false,
  cache: 'used',
};

const away = { kind: 'down', reason: 'nothing listens there', forMs: 42_000 } as const;

test('readiness: without routes nothing is said of them', () => {
  assert.ok(!('routes' in judgeReadiness(well, nowMs)));
});

for (const [name, requiredForReady, state, ready, detail] of [
  ['answers', true, well.upstream, true, 'it answers (200)'],
  ['is down', false, away, true, 'no answer for 42 s: nothing listens there'],
  ['is down, and required', true, away, false, 'no answer for 42 s: nothing listens there'],
  ['is not probed yet', false, null, true, 'not probed yet'],
  ['is not probed yet, and required', true, null, false, 'not probed yet'],
] as const) {
  test(`readiness: the registry of a route ${name}`, () => {
    const judged = judgeReadiness({ ...well, routes: [{ name: 'hub', requiredForReady, state }] }, nowMs);
    assert.equal(judged.ready, ready);
    assert.deepEqual(judged.routes, {
      hub: { ok: state?.kind === 'up', detail, required: requiredForReady },
    });
  });
}

for (const [name, facts, failing] of [
  ['all is well', {}, []],
  ['it is not known whether the registry answers', { upstream: null }, ['upstream']],
  ['it does not', { upstream: { kind: 'down', reason: 'x', forMs: 1 } }, ['upstream']],
  ['the certificate has expired', { certificateEndMs: nowMs }, ['certificate']],
  ['no process has told of its certificate', { certificateEndMs: null }, ['certificate']],
  [
    'a self-signed certificate answers until there is another',
    { certificate: { origin: 'interim', acme: null } },
    [],
  ],
  ['nobody serves', { workers: { wanted: 2, serving: 0 } }, ['workers']],
  ['it ends', { isDraining: true }, ['draining']],
  ['Redis is away, which does no harm', { cache: 'passed-by' }, []],
] as const) {
  test(`readiness: ${name}`, () => {
    const { ready, checks, details } = judgeReadiness({ ...well, ...facts }, nowMs);
    const failed = Object.entries(checks).filter(([, { ok }]) => !ok);
    assert.deepEqual(
      failed.map(([check]) => check),
      failing,
    );
    assert.equal(ready, failing.length === 0);
    assert.equal(details.cache, 'cache' in facts ? facts.cache : 'used');
  });
}
