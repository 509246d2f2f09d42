import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { findAdmin, type Admin } from '../support/admin.ts';
import { startFrontDoor, type FrontDoor, type LogLine } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { authorized, exchange } from '../support/raw-client.ts';
import { until } from '../support/redis.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

const manifest = '{"schemaVersion":2}';
const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const digest = `sha256:${'a'.repeat(64)}`;

/** Answers a tag by the status that it names, any push with 201, and probes with 200. */
async function answerByTag(request: UpstreamRequest): Promise<void> {
  await request.body();
  const [method, target = ''] = request.startLine.split(' ');
  const status = method === 'PUT' ? 201 : Number(/manifests\/(\d+)$/.exec(target)?.[1] ?? 200);
  const body = status === 200 ? manifest : '';
  request.answer(
    head(
      `HTTP/1.1 ${status} X`,
      `Content-Length: ${body.length}`,
      `Content-Type: ${manifestType}`,
      `Docker-Content-Digest: ${digest}`,
      'Docker-Distribution-Api-Version: registry/2.0',
    ),
    method === 'HEAD' ? '' : body,
  );
}

describe('routes, watched', { timeout: 240_000 }, () => {
  let own: ScriptedUpstream;
  let hub: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let admin: Admin;
  before(async () => {
    own = await startUpstream({ script: answerByTag });
    hub = await startUpstream({ script: answerByTag });
    const away = await startUpstream();
    await away.close();
    frontDoor = await startFrontDoor({
      upstreamUrl: own.url,
      set: ['admin.port=0', 'limits.routeFailures=2'],
      config: `
routes:
  - name: hub
    repositories: ["hub/**"]
    stripPrefix: hub
    upstream: { url: "${hub.url}", probeInterval: 100ms }
  - name: away
    repositories: ["away/**"]
    upstream: { url: "${away.url}", probeInterval: 100ms }
`,
    });
    admin = await findAdmin(frontDoor);
  });
  after(async () => {
    await frontDoor.stop();
    for (const each of [own, hub]) await each.close();
  });
  const ask = (request: string, ...fields: string[]) => exchange(frontDoor, authorized(request, ...fields));
  const lineOf = (path: string, msg = 'request'): Promise<LogLine> =>
    frontDoor.logged((line) => line.msg === msg && (line['path'] ?? line['repository']) === path);

  test('the access log names the route, and only for requests of one', async () => {
    await ask('GET /v2/hub/app/manifests/200');
    await ask('GET /v2/app/manifests/200');
    assert.equal((await lineOf('/v2/hub/app/manifests/200'))['upstream'], 'hub');
    assert.ok(!('upstream' in (await lineOf('/v2/app/manifests/200'))));
  });

  test('so does the audit', async () => {
    const fields = [`Content-Length: ${manifest.length}`, `Content-Type: ${manifestType}`];
    for (const repository of ['hub/pushed', 'pushed'])
      await exchange(frontDoor, authorized(`PUT /v2/${repository}/manifests/1`, ...fields) + manifest);
    assert.equal((await lineOf('hub/pushed', 'push'))['upstream'], 'hub');
    assert.ok(!('upstream' in (await lineOf('pushed', 'push'))));
  });

  test('failures are counted by route and kind, and what is not asked apart from them', async () => {
    const uncached = 'Cache-Control: no-cache';
    const before = await admin.metrics();
    assert.equal(before.get('tidegate_upstream_errors_total{upstream="hub",kind="challenge"}'), 0);
    for (const status of [401, 429, 500, 503])
      for (const field of [uncached, 'X-Cached: 1']) await ask(`GET /v2/hub/app/manifests/${status}`, field);
    for (let i = 0; i < 3; i += 1) await ask(`GET /v2/away/app/manifests/${i}`, uncached);
    await until('all are counted', async () => {
      const counted = await admin.metrics();
      return counted.get('tidegate_upstream_refusals_total{upstream="away",kind="paused"}') === 1;
    });
    const metrics = await admin.metrics();
    const errors = (upstream: string, kind: string) =>
      metrics.get(`tidegate_upstream_errors_total{upstream="${upstream}",kind="${kind}"}`);
    assert.deepEqual(
      ['challenge', 'rate-limit', 'server-error', 'no-answer'].map((kind) => errors('hub', kind)),
      [2, 2, 4, 0],
    );
    assert.deepEqual(
      ['no-answer', 'server-error'].map((kind) => errors('away', kind)),
      [2, 0],
    );
    assert.equal(metrics.get('tidegate_upstream_errors_total{kind="no-answer"}'), 0);
    const series = 'upstream="hub",route="manifest",method="GET"';
    assert.equal(metrics.get(`tidegate_requests_total{${series},status="429"}`), 2);
    assert.ok((metrics.get(`tidegate_request_duration_seconds_count{${series}}`) ?? 0) >= 8);
    assert.ok((metrics.get(`tidegate_sent_bytes_total{${series}}`) ?? 0) >= manifest.length);
  });

  test('/readyz and metrics say which registry is down', async () => {
    await until('all are probed', async () =>
      (await admin.metrics()).has('tidegate_upstream_up{upstream="away"}'),
    );
    const { status, body } = await admin.ask('/readyz');
    assert.equal(status, 200);
    const { routes } = JSON.parse(body) as { routes: Record<string, { ok: boolean; detail: string }> };
    assert.deepEqual(Object.keys(routes), ['hub', 'away']);
    assert.equal(routes['hub']?.ok, true);
    assert.equal(routes['away']?.ok, false);
    assert.match(routes['away'].detail, /^no answer for \d+ s: connect ECONNREFUSED/);
    const metrics = await admin.metrics();
    assert.deepEqual(
      ['', '{upstream="hub"}', '{upstream="away"}'].map((labels) =>
        metrics.get(`tidegate_upstream_up${labels}`),
      ),
      [1, 1, 0],
    );
    assert.ok((metrics.get('tidegate_upstream_probe_seconds{upstream="hub"}') ?? 0) > 0);
    assert.ok(!metrics.has('tidegate_upstream_probe_seconds{upstream="away"}'));
  });

  test('the log says why, and once that a registry is not asked any more', async () => {
    assert.equal((await lineOf('/v2/hub/app/manifests/429'))['reason'], 'upstream-rate-limit');
    assert.equal((await lineOf('/v2/away/app/manifests/2'))['reason'], 'upstream-paused');
    const stopped = frontDoor.log.filter(({ msg }) =>
      msg.startsWith('the registry of a route did not answer'),
    );
    assert.deepEqual(
      stopped.map(({ level, upstream, failures }) => [level, upstream, failures]),
      [[40, 'away', 2]],
    );
  });
});
