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
  return { config, pem: { upstreamCa: null, routeCas: {}, alertsCa: null } };
};

/** A stand-in for a server that only counts. */
function createDoor() {
  const metrics = createMetrics();
  const door: MonitorOptions['door'] = {
    status: () => ({
      draining: false,
      workers: { wanted: 1, serving: 1, restarts: 0, crashLoop: false },
      certificate: { names: [], notAfterMs: 0, origin: 'files', acme: null },
      clean: null,
    }),
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

describe('openWatch', { timeout: 240_000 }, () => {
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

  describe('with routes', () => {
    const routesOf = (...routes: object[]) => `routes=${JSON.stringify(routes)}`;
    const route = (name: string, url: string, more: object = {}, upstream: object = {}) => ({
      name,
      repositories: [`${name}/**`],
      upstream: { url, probeInterval: '100ms', ...upstream },
      ...more,
    });
    const usual = ['workers=1', 'upstream.probeInterval=100ms', 'alerts.upstreamDownFor=1ms'];
    type Ready = { ready: boolean; routes: Record<string, { ok: boolean }> };

    test('each registry is probed by itself: one that hangs delays no other', async () => {
      const upstream = await startUpstream({ script: answerOk });
      const hub = await startUpstream({ script: answerOk });
      const silent = await startUpstream({ script: async () => {} });
      const port = await freePort();
      const { metrics, door } = createDoor();
      const credentials = { username: 'puller', password: 'secret' };
      const routes = routesOf(
        route('silent', silent.url),
        route('hub', hub.url, { requiredForReady: true }, credentials),
      );
      const watch = await openMonitor({
        ...(await load(...usual, `admin.port=${port}`, `upstream.url=${upstream.url}`, routes)),
        logger,
        door,
      });
      const { status, body } = await createAdmin(port).ask('/readyz');
      assert.equal(status, 200);
      const { routes: found } = JSON.parse(body) as Ready;
      assert.deepEqual([found['hub']?.ok, found['silent']?.ok], [true, false]);
      await until('the others are probed on', () => hub.requests.length > 2 && upstream.requests.length > 2);
      assert.equal(silent.requests.length, 1, 'it is still waiting for its first answer');
      const basic = Buffer.from('puller:secret').toString('base64');
      assert.ok(hub.requests.every(({ head: sent }) => sent.includes(`Authorization: Basic ${basic}`)));
      watch.close();
      metrics.close();
      for (const each of [upstream, hub, silent]) await each.close();
    });

    test('each has an incident of its own, through reloads', async () => {
      const upstream = await startUpstream({ script: answerOk });
      const hub = await startUpstream({ script: answerOk });
      const hook = await startWebhook();
      const gone = `http://127.0.0.1:${await freePort()}`;
      const port = await freePort();
      const { metrics, door } = createDoor();
      const loadRoutes = (...routes: object[]) =>
        load(
          ...usual,
          `admin.port=${port}`,
          `upstream.url=${upstream.url}`,
          `alerts.webhook=http://127.0.0.1:${hook.port}/`,
          routesOf(...routes),
        );
      const watch = await openMonitor({ ...(await loadRoutes(route('hub', gone))), logger, door });
      const [first] = await hook.taken(1);
      assert.deepEqual([first?.alert, first?.upstream, first?.state], ['route-down', 'hub', 'firing']);
      const admin = createAdmin(port);
      assert.equal((await admin.ask('/readyz')).status, 200);

      await watch.reloaded('done', await loadRoutes(route('hub', gone, { requiredForReady: true })));
      assert.equal((await admin.ask('/readyz')).status, 503);
      await watch.reloaded('done', await loadRoutes(route('hub', hub.url), route('quay', gone)));
      const alerts = await hook.taken(3);
      const ofHub = alerts.filter((alert) => alert.upstream === 'hub');
      assert.deepEqual(
        ofHub.map(({ state, incident }) => [state, incident === first?.incident]),
        [
          ['firing', true],
          ['resolved', true],
        ],
      );
      await watch.reloaded('done', await loadRoutes());
      const last = (await hook.taken(4)).at(-1);
      assert.deepEqual([last?.upstream, last?.state], ['quay', 'resolved']);
      const { body } = await admin.ask('/readyz');
      assert.ok(!('routes' in (JSON.parse(body) as object)));
      watch.close();
      metrics.close();
      for (const each of [upstream, hub, hook]) await each.close();
    });
  });
});
