import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findAdmin, watched, type Admin } from '../support/admin.ts';
import { createCacheClient } from '../support/cache-client.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { root, run } from '../support/processes.ts';
import { anonymous, authorized, connectClient, exchange } from '../support/raw-client.ts';
import { freePort, until } from '../support/redis.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { head } from '../support/http-message.ts';
import { startUpstream } from '../support/scripted-upstream.ts';
import { connectToWorker, workerPids } from '../support/workers.ts';

const wrong = `Basic ${Buffer.from('alice:wrong').toString('base64')}`;
const deploy = path.join(root, 'deploy');

/** The sum of a metric's values under all labels that match. */
const sumOf = (metrics: ReadonlyMap<string, number>, name: string, labels = ''): number =>
  [...metrics]
    .filter(([key]) => (key === name || key.startsWith(`${name}{`)) && key.includes(labels))
    .reduce((sum, [, value]) => sum + value, 0);

/** `integration/acme` and `integration/clean-channel` look at these. */
const onlyWithMore: ReadonlySet<string> = new Set([
  'tidegate_certificate_failed_tries',
  // clean-channel.test.ts has their values.
  ...['connected', 'running', 'failures_total', 'quarantined_bytes', 'free_bytes'].map(cleanName),
  ...['timestamp_seconds', 'success', 'bytes'].map((name) => cleanName(`last_run_${name}`)),
]);

function cleanName(name: string): string {
  return `tidegate_clean_${name}`;
}

describe('metrics of several workers before a real registry', { timeout: 360_000 }, () => {
  let registry: Registry;
  let frontDoor: FrontDoor;
  let admin: Admin;
  before(async () => {
    registry = await startRegistry();
    const route = `{ name: away, repositories: [away/**], upstream: { url: "http://127.0.0.1:${await freePort()}" } }`;
    frontDoor = await startFrontDoor({
      upstreamUrl: registry.url,
      set: [...watched, 'workers=2'],
      config: `routes: [${route}]`,
    });
    admin = await findAdmin(frontDoor);
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
  });

  test('are summed over workers: as many requests as there are lines in the log', async () => {
    for (const pid of await workerPids(frontDoor)) {
      const client = await connectToWorker(frontDoor, pid);
      for (const request of [
        authorized('GET /v2/_catalog'),
        authorized('GET /v2/app/manifests/latest', 'Accept: application/vnd.oci.image.manifest.v1+json'),
        anonymous('GET /v2/x', `Authorization: ${wrong}`),
        anonymous('GET /v2/'),
        authorized('GET /outside'),
        authorized('PURGE /v2/x'),
      ]) {
        client.send(request);
        await client.response();
      }
      client.leave();
    }
    const inLog = () => {
      const counts: Record<string, number> = {};
      for (const line of frontDoor.log.filter(({ msg }) => msg === 'request')) {
        const method = line['method'] === 'PURGE' ? 'other' : String(line['method']);
        const key = `tidegate_requests_total{route="${(line['route'] as string | null) ?? 'none'}",method="${method}",status="${String(line['status'])}"}`;
        counts[key] = (counts[key] ?? 0) + 1;
      }
      return counts;
    };
    let shown: Record<string, number> = {};
    await until('log and metrics agree', async () => {
      const metrics = await admin.metrics();
      shown = Object.fromEntries([...metrics].filter(([key]) => key.startsWith('tidegate_requests_total')));
      return (
        Object.keys(shown).length > 5 && JSON.stringify(sorted(shown)) === JSON.stringify(sorted(inLog()))
      );
    });
    const metrics = await admin.metrics();
    assert.equal(sumOf(metrics, 'tidegate_authentications_total', 'result="wrong-credentials"'), 2);
    assert.equal(sumOf(metrics, 'tidegate_authentications_total', 'result="not-needed"'), 2);
    assert.equal(sumOf(metrics, 'tidegate_cache_requests_total'), 2);
    assert.equal(
      sumOf(metrics, 'tidegate_request_duration_seconds_count'),
      sumOf(metrics, 'tidegate_requests_total'),
    );
    assert.equal(sumOf(metrics, 'tidegate_password_wait_seconds_count') > 0, true);
    assert.equal(sumOf(metrics, 'tidegate_workers', 'serving'), 2);
    assert.equal(sumOf(metrics, 'tidegate_upstream_up'), 1);
    assert.ok(sumOf(metrics, 'tidegate_resident_memory_bytes') > 3 * 20e6, 'three processes');
    assert.ok(sumOf(metrics, 'tidegate_certificate_expiry_timestamp_seconds') > Date.now() / 1000);
  });

  test('do not fall when a worker is killed, and tell of it', async () => {
    const before = await admin.metrics();
    const [pid = 0] = await workerPids(frontDoor);
    process.kill(pid, 'SIGKILL');
    await frontDoor.logged(({ msg }) => msg === 'a worker process is listening');
    const later = await admin.metrics();
    for (const [key, value] of before) {
      if (!/_(total|count|sum|bucket)(\{|$)/.test(key)) continue;
      assert.ok((later.get(key) ?? 0) >= value, `${key} was ${value} and is ${later.get(key)}`);
    }
    assert.equal(
      sumOf(later, 'tidegate_requests_total'),
      sumOf(before, 'tidegate_requests_total'),
      'and nothing counts twice',
    );
    assert.equal(sumOf(later, 'tidegate_worker_restarts_total'), 1);
    assert.equal(sumOf(later, 'tidegate_workers', 'serving'), 2);
    (await connectToWorker(frontDoor, (await workerPids(frontDoor))[0] ?? 0)).leave();
    await until('what the next one counts is added', async () => {
      const now = await admin.metrics();
      return sumOf(now, 'tidegate_requests_total') > sumOf(later, 'tidegate_requests_total');
    });
  });

  test('a worker that hangs holds up no scrape', async () => {
    const before = await admin.metrics();
    const [pid = 0] = await workerPids(frontDoor);
    process.kill(pid, 'SIGSTOP');
    const meanwhile = await admin.metrics();
    process.kill(pid, 'SIGCONT');
    assert.equal(sumOf(meanwhile, 'tidegate_requests_total'), sumOf(before, 'tidegate_requests_total'));
  });

  describe('checked by promtool', { skip: unlessInstalled('promtool') }, () => {
    test('a scrape is in good form', async () => {
      const { body } = await admin.ask('/metrics');
      const { code, stdout, stderr } = await run('promtool', ['check', 'metrics'], { input: body });
      assert.equal(code, 0, stdout + stderr);
      assert.equal(stdout + stderr, '');
    });

    test('the rules are valid, and fire when they should and only then', async () => {
      const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-rules-'));
      try {
        await cp(path.join(deploy, 'prometheus'), dir, { recursive: true });
        await cp(path.join(dir, 'rules.yml'), path.join(dir, 'tidegate-rules.yml'));
        for (const args of [
          ['check', 'rules', path.join(dir, 'rules.yml')],
          ['check', 'config', path.join(dir, 'scrape.yml')],
          ['test', 'rules', path.join(dir, 'rules.test.yml')],
        ]) {
          const { code, stdout, stderr } = await run('promtool', args);
          assert.equal(code, 0, `promtool ${args.join(' ')}\n${stdout}${stderr}`);
        }
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    });
  });

  test('everything that rules and dashboard ask for is there, and nothing is left out', async () => {
    const { body } = await admin.ask('/metrics');
    const types = new Map(
      [...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]),
    );
    const values = await admin.metrics();
    const read = (file: string) => readFile(path.join(deploy, file), 'utf8');
    const rules = await read('prometheus/rules.yml');
    const dashboard = await read('grafana/dashboard.json');
    const series = (text: string) => new Set(text.match(/\btidegate_[a-z0-9_]+/g) ?? []);
    for (const [file, text] of [
      ['rules.yml', rules],
      ['dashboard.json', dashboard],
      ['rules.test.yml', await read('prometheus/rules.test.yml')],
    ] as const) {
      const names = series(text);
      assert.ok(names.size > 5, file);
      for (const name of names) {
        if (onlyWithMore.has(name)) continue;
        const base = name.replace(/_(bucket|sum|count)$/, '');
        const isThere = types.get(name) !== undefined || types.get(base) === 'histogram';
        assert.ok(isThere, `${file} asks for ${name}, which is not in a scrape`);
        const hasValue = [...values.keys()].some((key) => key === name || key.startsWith(`${name}{`));
        assert.ok(hasValue, `${file} asks for ${name}, which has no value`);
      }
    }
    // Labels that are compared with a text must be among those that exist, or that may come.
    const kinds = [...rules.matchAll(/(tidegate_[a-z_]+)\{([a-z]+)="([^"]+)"\}/g)];
    assert.ok(kinds.length > 2);
    for (const [, name = '', label = '', value = ''] of kinds) {
      const wanted = `${label}="${value}"`;
      assert.ok(
        [...values.keys()].some((key) => key.startsWith(`${name}{`) && key.includes(wanted)),
        `no ${name} has ${wanted}`,
      );
    }
    const shown = series(dashboard + rules);
    const unused = [...types.keys()].filter((name) => ![...shown].some((each) => each.startsWith(name)));
    assert.deepEqual(unused, []);
  });

  test('the dashboard is whole: unique numbers, no overlap, a query in each panel', async () => {
    const { panels, templating } = JSON.parse(
      await readFile(path.join(deploy, 'grafana/dashboard.json'), 'utf8'),
    ) as {
      panels: {
        id: number;
        type: string;
        gridPos: { x: number; y: number; w: number; h: number };
        targets?: { expr: string }[];
      }[];
      templating: { list: { name: string }[] };
    };
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    assert.deepEqual(
      templating.list.map(({ name }) => name),
      ['datasource', 'instance'],
    );
    for (const panel of panels) {
      if (panel.type !== 'row') assert.ok((panel.targets ?? []).length > 0);
      const { x, y, w, h } = panel.gridPos;
      assert.ok(x >= 0 && x + w <= 24);
      for (const { id, gridPos: other } of panels) {
        if (id === panel.id) continue;
        const apart =
          other.x >= x + w || x >= other.x + other.w || other.y >= y + h || y >= other.y + other.h;
        assert.ok(apart, `panels ${panel.id} and ${id} overlap`);
      }
    }
  });
});

describe('metrics of one process', { timeout: 240_000 }, () => {
  test('bytes are counted while they pass', async () => {
    const upstream = await startUpstream();
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['admin.port=0', 'upstream.probeInterval=1h'],
    });
    const admin = await findAdmin(frontDoor);
    (await upstream.next()).answer(head('HTTP/1.1 200 OK', 'Content-Length: 0'));
    const client = await connectClient(frontDoor);
    client.send(authorized('GET /v2/app/blobs/sha256:' + '0'.repeat(64)));
    const request = await upstream.next();
    request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 100000'), 'x'.repeat(60_000));
    await client.responseHead();
    await client.reader.take(60_000);
    const during = await admin.metrics();
    assert.equal(sumOf(during, 'tidegate_sent_bytes_total', 'route="blob"'), 60_000);
    assert.equal(sumOf(during, 'tidegate_transfers_in_flight'), 1);
    assert.equal(sumOf(during, 'tidegate_connections'), 1);
    request.answer('x'.repeat(40_000));
    await client.reader.take(40_000);
    client.leave();
    await until('it is over', async () => sumOf(await admin.metrics(), 'tidegate_connections') === 0);
    const end = await admin.metrics();
    assert.equal(sumOf(end, 'tidegate_sent_bytes_total', 'route="blob"'), 100_000);
    assert.equal(sumOf(end, 'tidegate_transfers_in_flight'), 0);
    await frontDoor.stop();
    await upstream.close();
  });

  test('the cache and failures of the registry are counted', async () => {
    const registry = await startRegistry();
    const frontDoor = await startFrontDoor({
      upstreamUrl: registry.url,
      set: [...watched, 'cache.tagTtl=1h'],
    });
    const admin = await findAdmin(frontDoor);
    const client = createCacheClient(frontDoor);
    const mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
    const { header } = await client.ask('POST', '/v2/app/blobs/uploads/');
    const upload = new URL(header('Location'));
    const digest = 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'; // of {}
    const put = await client.ask('PUT', `${upload.pathname}${upload.search}&digest=${digest}`, {
      body: '{}',
    });
    assert.equal(put.status, 201, put.body.toString());
    const manifest = {
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: 2, digest },
      layers: [],
    };
    const pushed = await client.ask('PUT', '/v2/app/manifests/1', {
      headers: { 'Content-Type': mediaType },
      body: JSON.stringify(manifest),
    });
    assert.equal(pushed.status, 201, pushed.body.toString());
    for (let pull = 0; pull < 3; pull += 1)
      await client.ask('GET', '/v2/app/manifests/1', { headers: { Accept: mediaType } });
    client.close();
    await until('all are counted', async () => {
      const metrics = await admin.metrics();
      return sumOf(metrics, 'tidegate_requests_total') === 6;
    });
    const metrics = await admin.metrics();
    assert.equal(sumOf(metrics, 'tidegate_cache_requests_total', 'result="MISS"'), 1);
    assert.equal(sumOf(metrics, 'tidegate_cache_requests_total', 'result="HIT"'), 2);
    assert.equal(sumOf(metrics, 'tidegate_cache_entries'), 1);
    assert.equal(sumOf(metrics, 'tidegate_cache_stores_total'), 1);
    assert.ok(sumOf(metrics, 'tidegate_received_bytes_total') > 100);
    await registry.stop();
    assert.equal((await exchange(frontDoor, authorized('GET /v2/_catalog'))).status, 502);
    await until('the failure is counted', async () => {
      const later = await admin.metrics();
      return sumOf(later, 'tidegate_upstream_errors_total', 'kind="no-answer"') === 1;
    });
    await frontDoor.stop();
  });
});

function sorted(counts: Record<string, number>): [string, number][] {
  return Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1));
}
