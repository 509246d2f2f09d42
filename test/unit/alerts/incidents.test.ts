import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Alert } from '../../../src/alerts/alert.ts';
import { createIncidents, type Facts } from '../../../src/alerts/incidents.ts';

const dayMs = 86_400_000;
const startMs = Date.UTC(2026, 0, 1);
const rules = { upstreamDownForMs: 60_000, certificateDays: 14 };
const well: Facts = {
  upstreamDown: null,
  routes: [],
  certificateEndMs: startMs + 300 * dayMs,
  orders: null,
  cleanFailure: null,
  isCrashLooping: false,
  lockOuts: { count: 0, latest: null },
};
const down = (forMs: number) => ({ ...well, upstreamDown: { forMs, reason: 'connection refused' } });

/** Shows these facts one after the other, each a minute later, and gives what was told after each. */
function watch(...all: (Partial<Facts> & { afterMs?: number })[]): { told: string[]; alerts: Alert[] } {
  const alerts: Alert[] = [];
  let nowMs = startMs;
  const incidents = createIncidents({ host: 'h', now: () => nowMs, raise: (alert) => alerts.push(alert) });
  const told = all.map(({ afterMs = 60_000, ...facts }) => {
    const before = alerts.length;
    nowMs += afterMs;
    incidents.observe({ ...well, ...facts }, rules);
    return alerts
      .slice(before)
      .map(({ kind, state }) => `${kind} ${state}`)
      .join(', ');
  });
  return { told, alerts };
}

describe('createIncidents', () => {
  it('is silent when all is well', () => {
    assert.deepEqual(watch(well, well).told, ['', '']);
  });

  it('tells of a registry that is down for long enough, once, and of its return, and then anew', () => {
    const { told, alerts } = watch(down(59_999), down(60_000), down(90_000), well, well, down(70_000));
    assert.deepEqual(told, [
      '',
      'upstream-down firing',
      '',
      'upstream-down resolved',
      '',
      'upstream-down firing',
    ]);
    const [first, second, third] = alerts;
    assert.match(first?.text ?? '', /not answered for 60 seconds.*connection refused/);
    assert.equal(first?.incident, second?.incident);
    assert.notEqual(first?.incident, third?.incident);
    assert.equal(second?.startedAt, first?.startedAt);
    assert.deepEqual([first?.endedAt, second?.endedAt], [null, '2026-01-01T00:04:00.000Z']);
  });

  it('takes it for away until it answers, though its time is counted anew after a reload', () => {
    assert.deepEqual(watch(down(60_000), down(10), well).told, [
      'upstream-down firing',
      '',
      'upstream-down resolved',
    ]);
  });

  it('is silent about a registry that was away for less', () => {
    assert.deepEqual(watch(down(10_000), well).told, ['', '']);
  });

  describe('of routes', () => {
    const route = (name: string, forMs: number | null) => ({
      name,
      isKnown: true,
      down: forMs === null ? null : { forMs, reason: 'connection refused' },
    });
    const routes = (...all: ReturnType<typeof route>[]) => ({ routes: all });

    it('tells of each by itself, by name', () => {
      const { told, alerts } = watch(
        routes(route('hub', 60_000), route('quay', 59_999)),
        routes(route('hub', 120_000), route('quay', 60_000)),
        routes(route('hub', null), route('quay', 90_000)),
      );
      assert.deepEqual(told, ['route-down firing', 'route-down firing', 'route-down resolved']);
      assert.deepEqual(
        alerts.map(({ upstream, text }) => [upstream, text]),
        [
          [
            'hub',
            'The registry of the route hub has not answered for 60 seconds, and nobody can push or pull through it. See its log, and upstream of the route: connection refused',
          ],
          [
            'quay',
            'The registry of the route quay has not answered for 60 seconds, and nobody can push or pull through it. See its log, and upstream of the route: connection refused',
          ],
          ['hub', 'The registry of the route hub answers again.'],
        ],
      );
      assert.equal(alerts[0]?.incident, alerts[2]?.incident);
    });

    it('goes on while a changed route is not probed yet, and is over when the route is gone', () => {
      const { told, alerts } = watch(
        routes(route('hub', 60_000)),
        routes({ ...route('hub', null), isKnown: false }),
        routes(route('hub', 10)),
        routes(),
      );
      assert.deepEqual(told, ['route-down firing', '', '', 'route-down resolved']);
      assert.equal(alerts[1]?.text, 'The route hub is not configured any more.');
    });

    it('is apart from that of upstream, which says that routes still serve', () => {
      const { told, alerts } = watch({ ...down(60_000), ...routes(route('hub', 60_000)) });
      assert.deepEqual(told, ['upstream-down firing, route-down firing']);
      assert.match(alerts[0]?.text ?? '', /nobody can push or pull except through routes: /);
      assert.equal(alerts[0]?.upstream, null);
    });
  });

  it('tells of a certificate that ends, that has ended, and of a new one', () => {
    const endsIn = (days: number) => ({ certificateEndMs: startMs + days * dayMs });
    const { told, alerts } = watch(
      { ...endsIn(15) },
      { ...endsIn(15), afterMs: dayMs },
      { ...endsIn(15), afterMs: dayMs },
      { ...endsIn(15), afterMs: 13 * dayMs },
      { ...endsIn(100) },
    );
    assert.deepEqual(told, [
      '',
      'certificate-ending firing',
      '',
      'certificate-ended firing',
      'certificate-ending resolved, certificate-ended resolved',
    ]);
    assert.match(alerts[0]?.text ?? '', /expires in 13 days, on 2026-01-16T00:00:00.000Z/);
  });

  it('says nothing about a certificate that it does not know', () => {
    assert.deepEqual(watch({ certificateEndMs: null }).told, ['']);
  });

  it('tells of a crash loop and its end', () => {
    const { told } = watch({ isCrashLooping: true }, { isCrashLooping: true }, {});
    assert.deepEqual(told, ['crash-loop firing', '', 'crash-loop resolved']);
  });

  it('tells of a clean-up that failed until one does its work', () => {
    const failed = { cleanFailure: 'The front door a/1 has vanished.' };
    const { told, alerts } = watch(failed, failed, {});
    assert.deepEqual(told, ['clean-failed firing', '', 'clean-failed resolved']);
    assert.match(alerts[0]?.text ?? '', /the disk fills: The front door a\/1 has vanished\.$/);
  });

  it('tells of lock-outs once, for as long as they go on', () => {
    const count = (n: number) => ({
      lockOuts: { count: n, latest: { kind: 'address', network: '192.0.2.7', user: 'alice' } },
    });
    const { told, alerts } = watch(
      count(2),
      { ...count(2), afterMs: 14 * 60_000 },
      count(3),
      { ...count(3), afterMs: 14 * 60_000 },
      count(3),
      { ...count(4), afterMs: dayMs },
    );
    assert.deepEqual(told, ['lock-outs firing', '', '', '', 'lock-outs resolved', 'lock-outs firing']);
    assert.match(alerts[0]?.text ?? '', /the address 192\.0\.2\.7/);
  });

  for (const [user, text] of [
    ['alice', /most recently the name alice, tried from 2001:db8::\/64\./],
    [null, /most recently an unknown name, tried from 2001:db8::\/64\./],
  ] as const) {
    it(`tells of a name that is locked out: ${user}`, () => {
      const latest = { kind: 'name', network: '2001:db8::/64', user };
      assert.match(watch({ lockOuts: { count: 1, latest } }).alerts[0]?.text ?? '', text);
    });
  }

  it('repeats a name that a stranger chose without what a chat or a mail would act upon', () => {
    const user = `<!channel> http://evil.example\r\nBcc: x@y ${'z'.repeat(1000)}`;
    const [alert] = watch({
      lockOuts: { count: 1, latest: { kind: 'name', network: '192.0.2.7', user } },
    }).alerts;
    assert.doesNotMatch(alert?.text ?? '', /[<>@\r\n!]/);
    assert.ok((alert?.text.length ?? 0) < 400);
  });
});
