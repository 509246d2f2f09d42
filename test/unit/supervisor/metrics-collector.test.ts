import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createMetricsCollector } from '../../../src/supervisor/metrics-collector.ts';
import { counter, gauge } from '../../../src/telemetry/metrics/metric-family.ts';
import type { ProcessReport } from '../../../src/telemetry/metrics/metrics.ts';

const report = (requests: number, connections = 1): ProcessReport => ({
  families: [
    counter('requests', '', [{ labels: { status: 200 }, value: requests }]),
    gauge('connections', '', 'sum', connections),
  ],
  certificateEndMs: 5,
  cache: 'used',
  lockOuts: { count: requests, latest: null },
});
const sum = (reports: readonly ProcessReport[], name: string): number =>
  reports
    .flatMap(({ families }) => families)
    .filter((family) => family.name === name)
    .flatMap(({ values }) => values)
    .reduce((total, { value }) => total + value, 0);

describe('createReportRounds', () => {
  it('asks each worker once for all who want to know, and waits for all', async () => {
    const asked: string[] = [];
    const rounds = createMetricsCollector<string>({ ask: (member) => asked.push(member), limitMs: 60_000 });
    rounds.join('a');
    rounds.join('b');
    const both = [rounds.collect(), rounds.collect()];
    assert.deepEqual(asked, ['a', 'b']);
    rounds.received('a', report(1));
    rounds.received('b', report(2));
    for (const reports of await Promise.all(both)) assert.equal(sum(reports, 'requests'), 3);
  });

  it('takes one that is silent at its last word', async () => {
    const rounds = createMetricsCollector<string>({ ask: () => {}, limitMs: 1 });
    rounds.join('a');
    rounds.received('a', report(7));
    assert.equal(sum(await rounds.collect(), 'requests'), 7);
  });

  it('keeps what those counted that have ended, and no more than that', async () => {
    const rounds = createMetricsCollector<number>({ ask: () => {}, limitMs: 60_000 });
    for (let worker = 0; worker < 100; worker += 1) {
      rounds.join(worker);
      rounds.received(worker, report(worker));
      rounds.leave(worker);
    }
    const reports = await rounds.collect();
    assert.equal(reports.length, 1);
    assert.equal(sum(reports, 'requests'), 4950);
    assert.equal(sum(reports, 'connections'), 0);
    const [past] = reports;
    assert.ok(past);
    assert.equal(past.families.flatMap(({ values }) => values).length, 1);
    assert.equal(past.lockOuts.count, 4950);
  });

  it('does not wait for one that ends meanwhile', async () => {
    const rounds = createMetricsCollector<string>({ ask: () => {}, limitMs: 60_000 });
    rounds.join('a');
    rounds.received('a', report(3));
    const collected = rounds.collect();
    rounds.leave('a');
    assert.equal(sum(await collected, 'requests'), 3);
  });

  it('does not take the word of one that has gone', async () => {
    const rounds = createMetricsCollector<string>({ ask: () => {}, limitMs: 1 });
    rounds.join('a');
    rounds.received('a', report(3));
    rounds.leave('a');
    rounds.received('a', report(3));
    assert.equal(sum(await rounds.collect(), 'requests'), 3);
  });
});
