import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatExposition } from '../../../src/telemetry/metrics/exposition.ts';
import type { MetricFamily } from '../../../src/telemetry/metrics/metric-family.ts';
import { createMetrics, type Gauges } from '../../../src/telemetry/metrics/metrics.ts';

const gauges: Gauges = {
  connections: 3,
  underWay: [],
  passwords: { queued: 2, running: 1 },
  certificateEndMs: Date.UTC(2030, 0, 1),
  cache: null,
  routes: [],
};
const cache = {
  isUsable: true,
  isShared: false,
  counters: { store: 1, evict: 2, errors: 3 },
  stats: { entries: 4, bytes: 5 },
};

test('what others record is shown, and of what they name nothing becomes a label', () => {
  const metrics = createMetrics();
  metrics.throttled('address');
  metrics.throttled('address');
  metrics.throttled('something new');
  metrics.lockedOut({ kind: 'name', network: '192.0.2.7', user: 'mallory' });
  metrics.passwordWaited(100);
  metrics.passwordRejected();
  const { families, lockOuts } = metrics.report(gauges);
  metrics.close();
  const { text } = formatExposition([families]);
  for (const line of [
    'tidegate_throttled_total{kind="address"} 2',
    'tidegate_throttled_total{kind="other"} 1',
    'tidegate_lockouts_total{kind="name"} 1',
    'tidegate_password_wait_seconds_bucket{le="0.05"} 0',
    'tidegate_password_wait_seconds_bucket{le="0.25"} 1',
    'tidegate_password_queue 2',
    'tidegate_password_rejections_total 1',
    'tidegate_connections 3',
    'tidegate_certificate_expiry_timestamp_seconds 1893456000',
  ])
    assert.ok(text.split('\n').includes(line), `${line} is missing in\n${text}`);
  assert.ok(!text.includes('mallory') && !text.includes('192.0.2.7'));
  assert.deepEqual(lockOuts, { count: 1, latest: { kind: 'name', network: '192.0.2.7', user: 'mallory' } });
});

test('what several processes report becomes one: sums, the size of a shared store once, the certificate that ends first', () => {
  const metrics = createMetrics();
  metrics.throttled('name');
  const report = (isShared: boolean, isUsable: boolean, year: number) =>
    metrics.report({
      ...gauges,
      certificateEndMs: Date.UTC(year, 0, 1),
      cache: { ...cache, isShared, isUsable },
    }).families;
  const { text: shared } = formatExposition([report(true, true, 2031), report(true, false, 2030)]);
  const { text: apart } = formatExposition([report(false, true, 2031), report(false, true, 2032)]);
  metrics.close();
  const has = (text: string, ...lines: string[]) => {
    for (const line of lines) assert.ok(text.split('\n').includes(line), `${line} is missing in\n${text}`);
  };
  has(
    shared,
    'tidegate_throttled_total{kind="name"} 2',
    'tidegate_cache_entries 4',
    'tidegate_cache_usable 0',
  );
  has(shared, 'tidegate_certificate_expiry_timestamp_seconds 1893456000', 'tidegate_connections 6');
  has(apart, 'tidegate_cache_entries 8', 'tidegate_cache_bytes 10', 'tidegate_cache_usable 1');
});

test('texts are escaped, and series keep their order', () => {
  const family = (value: number): MetricFamily => ({
    ...{ name: 'some', help: 'a "b" \\ c\nd', type: 'gauge', aggregator: 'sum' },
    values: [
      { labels: { le: 0.5, of: 'a "b" \\ c\nd' }, value, metricName: 'some_bucket' },
      { labels: {}, value: Infinity },
    ],
  });
  assert.equal(
    formatExposition([[family(1)], [family(2), { ...family(0), name: 'none', values: [] }]]).text,
    String.raw`# HELP some a "b" \\ c\nd
# TYPE some gauge
some_bucket{le="0.5",of="a \"b\" \\ c\nd"} 3
some +Inf

# HELP none a "b" \\ c\nd
# TYPE none gauge
`,
  );
});
