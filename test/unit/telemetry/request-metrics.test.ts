import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LoggedExchange } from '../../../src/telemetry/log/access-log.ts';
import type { MetricFamily } from '../../../src/telemetry/metrics/metric-family.ts';
import { createRequestMetrics } from '../../../src/telemetry/metrics/request-metrics.ts';
import { anonymous } from '../../../src/registry/principal.ts';
import { machinesNamed, user } from '../../support/principals.ts';

const usual: LoggedExchange = {
  id: 'x',
  trace: { clientRequestId: null, traceId: null },
  startedAtMs: 1000,
  method: 'GET',
  outerTarget: '/v2/app/manifests/1',
  host: 'x',
  clientAddress: '192.0.2.1',
  userAgent: '',
  routeKind: 'manifest',
  upstream: null,
  principal: user('alice'),
  errorCode: null,
  reason: null,
  cache: null,
  source: null,
  res: { statusCode: 200, headersSent: true },
  bytesOut: 0,
  transfer: null,
};
const answered = (statusCode: number) => ({ res: { statusCode, headersSent: true } });

/** The values of a metric that are not 0, by their labels. */
function valuesOf(families: readonly MetricFamily[], name: string): Record<string, number> {
  const family = families.find((each) => each.name === name);
  assert.ok(family, `no ${name}`);
  return Object.fromEntries(
    family.values
      .filter(({ value }) => value !== 0)
      .map(({ labels, value }) => [Object.values(labels).join(' '), value]),
  );
}
const after = (...exchanges: Partial<LoggedExchange>[]): MetricFamily[] => {
  const metrics = createRequestMetrics();
  for (const exchange of exchanges) metrics.finished({ ...usual, ...exchange }, 1002);
  return metrics.families([], ['hub']);
};

describe('createRequestMetrics', () => {
  it('counts by route, method and status', () => {
    const families = after({}, {}, { method: 'HEAD' }, { routeKind: null, ...answered(400) });
    assert.deepEqual(valuesOf(families, 'tidegate_requests_total'), {
      'manifest GET 200': 2,
      'manifest HEAD 200': 1,
      'none GET 400': 1,
    });
  });

  it('has no more labels than it knows, whatever methods clients and statuses upstream invent', () => {
    const invented = Array.from({ length: 900 }, (_, i) => ({ method: `X${i}`, ...answered(100 + i) }));
    const names = Object.keys(valuesOf(after(...invented), 'tidegate_requests_total'));
    assert.ok(names.length < 80, `${names.length} label sets`);
    assert.ok(names.every((name) => name.startsWith('manifest other ')));
    assert.ok(names.includes('manifest other 9xx'));
    assert.ok(names.includes('manifest other 200'));
  });

  it('counts by the kind of who asks, and refused ID tokens by their reason', () => {
    const machines = machinesNamed('ci').map((principal) => ({ principal }));
    const refused = {
      principal: anonymous,
      errorCode: 'UNAUTHORIZED',
      reason: 'expired-id-token',
      ...answered(401),
    };
    const families = after({}, {}, ...machines, { principal: anonymous }, refused);
    assert.deepEqual(valuesOf(families, 'tidegate_verified_requests_total'), { user: 2, token: 1, job: 1 });
    assert.equal(valuesOf(families, 'tidegate_authentications_total')['expired-id-token'], 1);
  });

  it('counts an answer that was never begun as none', () => {
    const families = after({ res: { statusCode: 200, headersSent: false } });
    assert.deepEqual(valuesOf(families, 'tidegate_requests_total'), { 'manifest GET none': 1 });
  });

  it('counts durations in cumulative buckets', () => {
    const metrics = createRequestMetrics();
    for (const endMs of [1000.5, 1002, 1040, 9_999_000]) metrics.finished(usual, endMs);
    const values = valuesOf(metrics.families([], []), 'tidegate_request_duration_seconds');
    assert.equal(values['manifest GET 0.001'], 1);
    assert.equal(values['manifest GET 0.0025'], 2);
    assert.equal(values['manifest GET 0.05'], 3);
    assert.equal(values['manifest GET 3600'], 3);
    assert.equal(values['manifest GET +Inf'], 4);
  });

  const refused = (reason: string) => ({
    principal: anonymous,
    errorCode: 'UNAUTHORIZED',
    reason,
    ...answered(401),
  });
  for (const [name, exchange, result] of [
    ['somebody verified', {}, 'verified'],
    ['an open path', { principal: anonymous, routeKind: 'open' }, 'not-needed'],
    ['no credentials', refused('no-credentials'), 'no-credentials'],
    ['wrong ones', refused('wrong-credentials'), 'wrong-credentials'],
    ['a reason that nobody has heard of', refused('because'), 'other'],
    ['not decided', { principal: anonymous, errorCode: 'UNAVAILABLE', ...answered(503) }, 'undecided'],
    ['throttled', { principal: anonymous, errorCode: 'TOOMANYREQUESTS', ...answered(429) }, 'throttled'],
    [
      'a bad target',
      { principal: anonymous, routeKind: null, errorCode: 'BAD_REQUEST', ...answered(400) },
      null,
    ],
  ] as const) {
    it(`tells what was found out about who asks: ${name}`, () => {
      const expected = result === null ? {} : { [result]: 1 };
      assert.deepEqual(valuesOf(after(exchange), 'tidegate_authentications_total'), expected);
    });
  }

  for (const [name, exchange, kind] of [
    ['a good answer', {}, null],
    ['no answer', { errorCode: 'BAD_GATEWAY', ...answered(502) }, 'no-answer'],
    ['too late', { errorCode: 'GATEWAY_TIMEOUT', ...answered(504) }, 'timeout'],
    ['half an answer', { reason: 'upstream-broke' }, 'broke-off'],
    ["the registry's own error", answered(503), 'server-error'],
    ['it wants a password', answered(401), 'challenge'],
    ['a client that left', { reason: 'client-left' }, null],
    [
      'an error of the front door',
      { principal: anonymous, errorCode: 'UNAUTHORIZED', reason: 'no-credentials', ...answered(401) },
      null,
    ],
    ['the front door itself failed', { errorCode: 'UNKNOWN', ...answered(500) }, null],
  ] as const) {
    it(`tells how the registry failed: ${name}`, () => {
      const expected = kind === null ? {} : { [kind]: 1 };
      assert.deepEqual(valuesOf(after(exchange), 'tidegate_upstream_errors_total'), expected);
    });
  }

  for (const [name, exchange, kind] of [
    ['no answer', { errorCode: 'BAD_GATEWAY', ...answered(502) }, 'no-answer'],
    ['too late', { errorCode: 'GATEWAY_TIMEOUT', ...answered(504) }, 'timeout'],
    ['half an answer', { reason: 'upstream-broke' }, 'broke-off'],
    [
      'its own error',
      { errorCode: 'BAD_GATEWAY', reason: 'upstream-server-error', ...answered(502) },
      'server-error',
    ],
    [
      'it is overloaded',
      { errorCode: 'UNAVAILABLE', reason: 'upstream-server-error', ...answered(503) },
      'server-error',
    ],
    [
      'it wants a password',
      { errorCode: 'BAD_GATEWAY', reason: 'upstream-challenge', ...answered(502) },
      'challenge',
    ],
    [
      'it limits pulls',
      { errorCode: 'TOOMANYREQUESTS', reason: 'upstream-rate-limit', ...answered(429) },
      'rate-limit',
    ],
    ['it has no such manifest', { errorCode: 'MANIFEST_UNKNOWN', ...answered(404) }, null],
  ] as const) {
    it(`tells how the registry of a route failed, though the answer is Tidegate's: ${name}`, () => {
      const families = after({ ...exchange, upstream: 'hub', principal: anonymous });
      const expected = kind === null ? {} : { [`hub ${kind}`]: 1 };
      assert.deepEqual(valuesOf(families, 'tidegate_upstream_errors_total'), expected);
      assert.deepEqual(valuesOf(families, 'tidegate_upstream_refusals_total'), {});
      assert.deepEqual(valuesOf(families, 'tidegate_authentications_total'), { 'not-needed': 1 });
    });
  }

  for (const kind of ['paused', 'full']) {
    it(`counts requests that a bulkhead refuses, which is no failure of the registry: ${kind}`, () => {
      const refused = { errorCode: 'UNAVAILABLE', reason: `upstream-${kind}`, ...answered(503) };
      const families = after({ ...refused, upstream: 'hub' });
      assert.deepEqual(valuesOf(families, 'tidegate_upstream_refusals_total'), { [`hub ${kind}`]: 1 });
      assert.deepEqual(valuesOf(families, 'tidegate_upstream_errors_total'), {});
    });
  }

  it('has series of their own for routes, and a label on no other', () => {
    const families = after({}, { upstream: 'hub', cache: 'HIT' }, { cache: 'MISS' });
    assert.deepEqual(valuesOf(families, 'tidegate_requests_total'), {
      'manifest GET 200': 2,
      'hub manifest GET 200': 1,
    });
    assert.deepEqual(valuesOf(families, 'tidegate_cache_requests_total'), { MISS: 1, 'hub HIT': 1 });
  });

  it('says nothing of routes where there are none', () => {
    const families = createRequestMetrics().families([], []);
    assert.ok(families.every(({ name }) => name !== 'tidegate_upstream_refusals_total'));
    const labels = families.flatMap(({ values }) => values.flatMap((each) => Object.keys(each.labels)));
    assert.ok(!labels.includes('upstream'));
  });

  it('forgets a route that is gone, once its last request has ended', () => {
    const metrics = createRequestMetrics();
    const ofHub = { ...usual, upstream: 'hub' };
    metrics.finished(ofHub, 1002);
    const counted = (underWay: (typeof ofHub)[], routes: string[]) =>
      Object.keys(valuesOf(metrics.families(underWay, routes), 'tidegate_requests_total'));
    assert.deepEqual(counted([], ['hub']), ['hub manifest GET 200']);
    assert.deepEqual(counted([ofHub], []), ['hub manifest GET 200']);
    assert.deepEqual(counted([], []), []);
  });

  it('counts bytes as they pass, and never fewer when the request has just ended', () => {
    const metrics = createRequestMetrics();
    const transfer = { bytesIn: 5, bytesOut: 700, waitsForClient: () => false };
    const sent = (families: MetricFamily[]) => valuesOf(families, 'tidegate_sent_bytes_total');
    const underWay = { ...usual, routeKind: 'blob', transfer };
    assert.deepEqual(sent(metrics.families([underWay, underWay], [])), { 'blob GET': 1400 });
    // Both have ended, and only one has been counted yet.
    metrics.finished(underWay, 2000);
    assert.deepEqual(sent(metrics.families([], [])), { 'blob GET': 1400 });
    metrics.finished(underWay, 2000);
    assert.deepEqual(sent(metrics.families([], [])), { 'blob GET': 1400 });
    metrics.finished(underWay, 2000);
    assert.deepEqual(sent(metrics.families([], [])), { 'blob GET': 2100 });
  });

  it('counts what is under way', () => {
    const transfer = { bytesIn: 0, bytesOut: 0, waitsForClient: () => false };
    const families = createRequestMetrics().families([usual, { ...usual, transfer }], []);
    assert.deepEqual(valuesOf(families, 'tidegate_requests_in_flight'), { '': 2 });
    assert.deepEqual(valuesOf(families, 'tidegate_transfers_in_flight'), { '': 1 });
  });
});
