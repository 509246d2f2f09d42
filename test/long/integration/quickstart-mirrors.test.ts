import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp, writeFile, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { pickFreePort } from '../../../src/quickstart/port.ts';
import { addHubImage, hubUser, startHub, types, type Hub, type HubImage } from '../../support/hub.ts';
import { copyCheckout, curl, processesOf, skip, start, type Started } from '../../support/quickstart.ts';
import { until } from '../../support/redis.ts';

describe('npm start --mirror', { skip }, () => {
  let checkout = '';
  let secrets = '';
  let hub: Hub;
  let image: HubImage;
  let started: Started | undefined;
  let port: number;
  let password = '';
  before(async () => {
    [checkout, hub] = await Promise.all([copyCheckout(), startHub()]);
    image = await addHubImage(hub, 'library/nginx', 'latest');
    secrets = await mkdtemp(path.join(tmpdir(), 'tidegate-secrets-'));
  });
  afterEach(async () => {
    await started?.end();
    started = undefined;
    assert.deepEqual(processesOf(checkout), []);
  });
  after(async () => {
    await hub.stop();
    rmSync(checkout, { recursive: true, force: true });
    rmSync(secrets, { recursive: true, force: true });
  });

  const startMirrors = async (...args: string[]) => {
    port = await pickFreePort('127.0.0.1');
    started = start(checkout, ['--port', String(port), '--mirror', `docker.io=${hub.url}`, ...args]);
    await started.ready;
    password = /^password: (\S{20,})$/m.exec(started.output())?.[1] ?? password;
    return started;
  };
  const status = async (target: string) => {
    const args = ['-u', `admin:${password}`, '-H', `Accept: ${types.manifest}`];
    const url = `https://localhost:${port}/v2/${target}`;
    return Number(await curl(checkout, port, url, ['-o', '/dev/null', '-w', '%{http_code}', ...args]));
  };
  const credentials = async (lines: string, mode = 0o600) => {
    const file = path.join(secrets, 'credentials');
    await writeFile(file, lines);
    await chmod(file, mode);
    return ['--mirror-credentials', file];
  };

  it('runs a mirror beside the registry, with the credentials of the file, and ends it', async () => {
    const { username, password: secret } = hubUser;
    const file = await credentials(`# Docker Hub\ndocker.io ${username} ${secret}\n`);
    const { output, interrupt } = await startMirrors(...file);
    assert.match(output(), /^Mirror of docker\.io: program \S+ … listening on http:/m);
    assert.match(output(), new RegExp(`^mirror +docker\\.io as \\S+:${port}/hub/…, http:`, 'm'));
    assert.match(output(), new RegExp(`mirror steps --mirror docker.io --host \\S+ --port ${port}$`, 'm'));
    assert.equal(await status('hub/library/nginx/manifests/latest'), 200);
    for (const digest of [image.configDigest, ...image.layerDigests])
      assert.equal(await status(`hub/library/nginx/blobs/${digest}`), 200);
    assert.equal(await status('library/nginx/manifests/latest'), 404);
    assert.deepEqual(new Set((await hub.requests()).map(({ name }) => name)), new Set([username]));
    assert.ok(!output().includes(secret));
    assert.match(readFileSync(`${checkout}/var/mirror-hub.yml`, 'utf8'), new RegExp(secret));
    assert.equal(await interrupt(), 0);
  });

  it('started again without its source, it has what it had', async () => {
    await hub.be({ away: true });
    const { output, interrupt } = await startMirrors();
    assert.match(output(), /^Mirror of docker\.io: .* listening on \S+, but \S+ does not answer: /m);
    await hub.requests();
    assert.equal(await status('hub/library/nginx/manifests/latest'), 200);
    assert.equal(await status('library/nginx/manifests/latest'), 404);
    assert.equal(await interrupt(), 0);
  });

  it('keeps the routes of the configuration, and starts nothing that one of them mirrors', async () => {
    const own =
      '{ name: own, repositories: ["own/**"], namespaces: [docker.io], upstream: { url: "http://127.0.0.1:2" } }';
    await writeFile(`${checkout}/config/tidegate.yml`, `routes: [${own}]\n`);
    const { output, interrupt } = await startMirrors('--mirror', `quay.io=${hub.url}`);
    rmSync(`${checkout}/config/tidegate.yml`);
    assert.doesNotMatch(output(), /Mirror of docker\.io/);
    assert.match(output(), /^mirror +quay\.io as /m);
    assert.equal(await status('own/a/manifests/1'), 502);
    assert.equal(await interrupt(), 0);
  });

  it('takes its mirror along when it is killed', async () => {
    await startMirrors();
    const [main] = processesOf(checkout).filter(({ command }) => command.includes('start.mjs'));
    process.kill(main?.pid ?? assert.fail(), 'SIGKILL');
    await until('all have ended', () => Promise.resolve(processesOf(checkout).length === 0));
  });

  const refusals: [what: string, args: () => Promise<string[]>, sentence: RegExp][] = [
    [
      'a file of credentials that others can read',
      () => credentials('', 0o640),
      /is open to other users .*chmod 600/,
    ],
    [
      'a line that it cannot read',
      () => credentials('docker.io alice\n'),
      /line 1: write SOURCE USER PASSWORD/,
    ],
    [
      'credentials of a source that is not mirrored',
      () => credentials('quay.io a b\n'),
      /for quay\.io, which --mirror does not name/,
    ],
    [
      'a file that is not there',
      () => Promise.resolve(['--mirror-credentials', '/nonexistent']),
      /cannot be read \(ENOENT\)/,
    ],
    [
      'two mirrors of one name',
      () => Promise.resolve(['--mirror', 'hub.example.com']),
      /would be the route hub, and there is one/,
    ],
  ];
  for (const [what, args, sentence] of refusals) {
    it(`refuses ${what} in one sentence`, async () => {
      started = start(checkout, ['--mirror', 'docker.io', ...(await args())]);
      assert.equal(await started.exitCode, 1);
      assert.match(started.output(), sentence);
    });
  }
});
