import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it, type TestContext } from 'node:test';
import { lastLine, unknownAuthority } from '../support/clients.ts';
import { openEngineNamespace, unlessNamespaces, type EngineNamespace } from '../support/engine-namespace.ts';
import { password, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { createImage, type Image } from '../support/image.ts';
import { run, type Finished } from '../support/processes.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const skip =
  unlessInstalled('ctr', 'containerd', 'docker-registry', 'tar', 'ip', 'unshare', 'nsenter') ||
  unlessNamespaces();

// It has no login: the password comes with every command, from ctr as from Kubernetes' pull secrets.
describe('containerd', { skip }, () => {
  let dir: string;
  let namespace: EngineNamespace;
  let registry: Registry;
  let frontDoor: FrontDoor;
  let image: Image;
  let reference: string;
  let containerdGone: Promise<unknown>;
  before(async () => {
    dir = await mkdtemp(`${tmpdir()}/tidegate-containerd-`);
    namespace = await openEngineNamespace();
    registry = await startRegistry({ within: namespace.networkOnly });
    frontDoor = await startFrontDoor({
      upstreamUrl: registry.url,
      hosts: [namespace.host],
      set: [`listen.host=${namespace.address}`, 'listen.port=443'],
      within: namespace.networkOnly,
    });
    image = await createImage();
    reference = `${namespace.host}/team/containerd:1`;
    containerdGone = (await startContainerd()).gone;
    const imported = await ctr('images', 'import', '--snapshotter', 'native', image.archivePath);
    assert.equal(imported.code, 0, imported.stderr);
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
    await namespace.close(); // which ends containerd
    await containerdGone;
    await image.remove();
    await rm(dir, { recursive: true });
  });

  async function startContainerd(): Promise<{ gone: Promise<unknown> }> {
    const configPath = path.join(dir, 'config.toml');
    const config = `version = 2
root = "${dir}/root"
state = "${dir}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "${dir}/containerd.sock"
`;
    await writeFile(configPath, config);
    await writeHosts('trusting', frontDoor.caPath);
    await writeHosts('distrusting', null);
    const [file, ...args] = [...namespace.inside, 'containerd', '--config', configPath];
    const containerd = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const gone = once(containerd, 'close');
    const ready = new Promise<void>((resolve) => {
      createInterface({ input: containerd.stderr }).on('line', (line) => {
        if (line.includes('containerd successfully booted')) resolve();
      });
    });
    const died = gone.then(() => {
      throw new Error('containerd ended before it was ready');
    });
    await Promise.race([ready, died]);
    died.catch(() => {}); // from here on its end is the test's own doing
    return { gone };
  }

  /** What `cert trust` tells operators of containerd to write. */
  async function writeHosts(name: string, caPath: string | null): Promise<void> {
    const hostDir = path.join(dir, name, namespace.host);
    const server = `https://${namespace.host}`;
    await mkdir(hostDir, { recursive: true });
    const ca = caPath === null ? '' : `ca = "${caPath}"\n`;
    await writeFile(`${hostDir}/hosts.toml`, `server = "${server}"\n\n[host."${server}"]\n${ca}`);
  }

  function ctr(...args: readonly string[]): Promise<Finished> {
    const [file = '', ...rest] = [
      ...namespace.inside,
      ...['ctr', '--address', `${dir}/containerd.sock`],
      ...args,
    ];
    return run(file, rest);
  }

  type Access = { credentials?: string; hosts?: 'trusting' | 'distrusting' };
  const reach = ({ credentials, hosts = 'trusting' }: Access) => [
    ...(credentials === undefined ? [] : ['--user', credentials]),
    ...['--hosts-dir', path.join(dir, hosts)],
  ];
  const push = (access: Access) => ctr('images', 'push', ...reach(access), reference, image.name);
  const pull = (access: Access) =>
    ctr('images', 'pull', '--snapshotter', 'native', ...reach(access), reference);
  const right = `${user}:${password}`;

  const refused = (t: TestContext, done: Finished, reason: RegExp) => {
    t.diagnostic(lastLine(done));
    assert.equal(done.code, 1, done.stdout);
    assert.match(done.stderr, reason);
  };

  it('refuses a front door whose CA it does not know', async (t) => {
    refused(t, await push({ credentials: right, hosts: 'distrusting' }), unknownAuthority);
  });

  it('may not push without credentials or with a wrong password', async (t) => {
    refused(t, await push({}), /401 Unauthorized|authorization failed/);
    refused(t, await push({ credentials: `${user}:wrong` }), /401 Unauthorized|authorization failed/);
    await assert.rejects(registry.manifest('team/containerd', '1'), { code: 'ENOENT' });
  });

  it('pushes an image of several layers with the right one', async (t) => {
    const done = await push({ credentials: right });
    t.diagnostic(lastLine(done));
    assert.equal(done.code, 0, done.stderr);
    const stored = await registry.manifest('team/containerd', '1');
    assert.equal(stored.configDigest, image.id);
    assert.equal(stored.layerDigests.length, image.layerCount);
  });

  it('pulls the very image that it pushed, and nothing without credentials', async (t) => {
    const removed = await ctr('images', 'remove', '--sync', image.name);
    assert.equal(removed.code, 0, removed.stderr);
    refused(t, await pull({}), /401 Unauthorized|authorization failed/);
    const done = await pull({ credentials: right });
    t.diagnostic(lastLine(done));
    assert.equal(done.code, 0, done.stderr);
    const listed = await ctr('images', 'list', `name==${reference}`);
    const stored = await registry.manifest('team/containerd', '1');
    assert.ok(listed.stdout.includes(stored.digest), listed.stdout);
    for (const digest of stored.layerDigests) {
      const layer = `/v2/team/containerd/blobs/${digest}`;
      const line = await frontDoor.logged((entry) => entry['path'] === layer && entry['method'] === 'GET');
      assert.deepEqual([line['status'], line['user']], [200, user]);
    }
  });
});
