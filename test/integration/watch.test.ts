import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pino } from 'pino';
import { openMonitor, type MonitorOptions } from '../../src/admin/monitor.ts';
import { loadConfig } from '../../src/config/load/load.ts';
import { createMetrics } from '../../src/telemetry/metrics/metrics.ts';
import type { ReloadOutcome } from '../../src/admin/admin.ts';
import { createAdmin } from '../support/admin.ts';
import { freePort, until } from '../support/redis.ts';
import { answerOk, startUpstream } from '../support/scripted-upstream.ts';
import { startWebhook } from '../support/webhook.ts';

const load = async (...set: string[]): Promise<Pick<MonitorOptions, 'config' | 'pem'>> => {
  const { config } = await loadConfig({
    configPath: undefined,
    flavor: undefined,
    set,
    env: {},
    cwd: '/nowhere',
  });
  return { config, pem: { upstreamCa: null, alertsCa: null } };
};

/** A stand-in for a server that only counts. */
function createDoor() {
  const metrics = createMetrics();
  const door: MonitorOptions['door'] = {
    status: () => ({ draining: false, workers: { wanted: 1, serving: 1, restarts: 0, crashLoop: false } }),
    reports: () =>
      Promise.resolve([
        metrics.report({
          connections: 0,
          underWay: [],
          passwords: { queued: 0, running: 0 },
          certificateEndMs: Date.now() + 100 * 86_400_000,
          cache: null,
          routes: [],
        }),
      ]),
  };
  return { metrics, door };
}
const logger = pino({ level: 'silent' });

describe('openWatch', { timeout: 60_000 }, () => {
  test('follows a configuration that was taken over, and counts reloads', async () => {
    const upstream = await startUpstream({ script: answerOk });
    const first = await startWebhook();
    const second = await startWebhook();
    const gone = await freePort();
    const port = await freePort();
    const usual = [
      'workers=1',
      `admin.port=${port}`,
      'upstream.probeInterval=100ms',
      'alerts.upstreamDownFor=1ms',
    ];
    const { metrics, door } = createDoor();
    const outcomes: ReloadOutcome[] = [
      { ok: true, changed: ['upstream.url'], needRestart: [] },
      { ok: false, sentence: 'no' },
    ];
    const watch = await openMonitor({
      ...(await load(
        ...usual,
        `upstream.url=${upstream.url}`,
        `alerts.webhook=http://127.0.0.1:${first.port}/`,
      )),
      logger,
      door,
      reload: () => Promise.resolve(outcomes.shift() ?? assert.fail()),
    });
    const admin = createAdmin(port);
    const status = async () => (await admin.ask('/readyz')).status;
    assert.equal(await status(), 200);

    await watch.reloaded(
      'done',
      await load(
        ...usual,
        `upstream.url=http://127.0.0.1:${gone}`,
        `alerts.webhook=http://127.0.0.1:${second.port}/`,
      ),
    );
    const [alert] = await second.taken(1);
    assert.equal(alert?.alert, 'upstream-down');
    assert.equal(await status(), 503);

    await watch.reloaded('refused', await load());
    assert.equal(await status(), 503, 'it looks where it looked before');
    await watch.reloaded(
      'done',
      await load(...usual, `upstream.url=${upstream.url}`, `alerts.webhook=http://127.0.0.1:${second.port}/`),
    );
    const [, resolved] = await second.taken(2);
    assert.equal(resolved?.incident, alert.incident, 'what was open before is known after');
    assert.deepEqual(first.alerts, []);

    assert.equal((await admin.ask('/reload', { method: 'POST' })).status, 200);
    assert.equal((await admin.ask('/reload', { method: 'POST' })).status, 422);
    const shown = await admin.metrics();
    assert.equal(shown.get('tidegate_reloads_total{result="done"}'), 2);
    assert.equal(shown.get('tidegate_reloads_total{result="refused"}'), 1);

    watch.close();
    await assert.rejects(admin.ask('/livez'), /ECONNREFUSED/);
    metrics.close();
    for (const each of [upstream, first, second]) await each.close();
  });

  test('lock-outs that a worker counts are told, with the last of them', async () => {
    const upstream = await startUpstream({ script: answerOk });
    const hook = await startWebhook();
    const { metrics, door } = createDoor();
    const watch = await openMonitor({
      ...(await load(
        'workers=1',
        'admin.port=',
        'upstream.probeInterval=100ms',
        `upstream.url=${upstream.url}`,
        `alerts.webhook=http://127.0.0.1:${hook.port}/`,
      )),
      logger,
      door,
    });
    await until('it has looked', () => upstream.requests.length > 1);
    assert.deepEqual(hook.alerts, []);
    metrics.lockedOut({ kind: 'address', network: '192.0.2.7', user: null });
    const [alert] = await hook.taken(1);
    assert.equal(alert?.alert, 'lock-outs');
    assert.match(alert.text, /the address 192\.0\.2\.7/);
    watch.close();
    metrics.close();
    await upstream.close();
    await hook.close();
  });
});
