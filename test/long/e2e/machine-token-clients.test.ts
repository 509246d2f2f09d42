import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { lastLine, type Client } from '../../support/clients.ts';
import { startContainerd, type Containerd } from '../../support/clients-containerd.ts';
import { createContainersClient } from '../../support/clients-containers.ts';
import { createDockerClient, findDockerClis } from '../../support/clients-docker.ts';
import {
  openEngineNamespace,
  unlessNamespaces,
  type EngineNamespace,
} from '../../support/engine-namespace.ts';
import { startEngine, type Engine } from '../../support/engine.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { createImage, type Image } from '../../support/image.ts';
import { tokenCommand, tokenFile } from '../../support/machine-tokens.ts';
import type { Finished } from '../../support/processes.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const clis = await findDockerClis();
const skip =
  unlessInstalled('docker-registry', 'docker', 'dockerd', 'ctr', 'containerd') ||
  unlessInstalled('podman', 'skopeo', 'tar', 'ip', 'unshare', 'nsenter') ||
  unlessNamespaces();
const everything = { loggedIn: true, trusting: true };
const patient = ['auth.throttle.addressFailures=0', 'auth.throttle.repeatFailures=0'];

/** What a machine token must be to each client: a password that pushes and pulls where its scopes say, and nowhere else. */
for (const tokens of ['off', 'on'])
  describe(`real clients with a machine token, auth.tokens ${tokens}`, { skip, timeout: 300_000 }, () => {
    let namespace: EngineNamespace;
    let engine: Engine;
    let registry: Registry;
    let frontDoor: FrontDoor;
    let image: Image;
    let containerd: Containerd | undefined;
    let token: string;
    before(async () => {
      namespace = await openEngineNamespace();
      [engine, registry, image] = await Promise.all([
        startEngine(namespace),
        startRegistry({ within: namespace.networkOnly }),
        createImage({ layerCount: 2, layerBytes: 5000 }),
      ]);
      frontDoor = await startFrontDoor({
        upstreamUrl: registry.url,
        hosts: [namespace.host],
        set: [
          ...[tokenFile, ...patient, `auth.tokens=${tokens}`],
          ...[`listen.host=${namespace.address}`, 'listen.port=443'],
        ],
        within: namespace.networkOnly,
      });
      const scopes = ['--repositories', 'team/**', '--actions', 'pull,push', '--expires', '1d'];
      token = await tokenCommand(frontDoor, 'create', 'ci', ...scopes);
      await frontDoor.logged((line) => line['tokens'] === 1);
    });
    after(async () => {
      await frontDoor.stop();
      await registry.stop();
      await namespace.close();
      await engine.cleanUp();
      await containerd?.cleanUp();
      await image.remove();
    });
    const succeeded = (t: TestContext, done: Finished) => {
      t.diagnostic(lastLine(done));
      assert.equal(done.code, 0, done.stderr);
    };
    const refused = (t: TestContext, done: Finished, reason = /./) => {
      t.diagnostic(lastLine(done));
      assert.notEqual(done.code, 0, done.stdout);
      assert.match(done.stderr, reason);
    };
    const pushed = async (repository: string) => {
      const stored = await registry.manifest(repository, '1');
      assert.equal(stored.configDigest, image.id);
      const line = await frontDoor.logged(
        (entry) => entry.msg === 'push' && entry['repository'] === repository && entry['tag'] === '1',
      );
      assert.equal(line['user'], 'token:ci');
      await assert.rejects(registry.manifest(repository.replace('team', 'other'), '1'), { code: 'ENOENT' });
    };

    const itWorks = (name: string, createClient: () => Promise<Client>) => {
      it(`${name} logs in, pushes and pulls in its scopes, and is refused elsewhere`, async (t) => {
        const client = await createClient();
        try {
          const wrong = `${token.slice(0, -1)}${token.endsWith('0') ? '1' : '0'}`;
          refused(t, await client.login(wrong, { trusting: true, name: 'ci' }));
          succeeded(t, await client.login(token, { trusting: true, name: 'ci' }));
          succeeded(t, await client.push(`team/${name}:1`, everything));
          refused(t, await client.push(`other/${name}:1`, everything), /no repository|does not exist|denied/);
          succeeded(t, await client.pull(`team/${name}:1`, everything));
          assert.equal((await client.pulled(`team/${name}:1`)).id, image.id);
          await pushed(`team/${name}`);
        } finally {
          await client.cleanUp();
        }
      });
    };
    for (const cli of clis)
      itWorks(`docker-${cli.version.replace(/[^0-9.].*/, '')}`, () =>
        createDockerClient(cli, { namespace, engine, ca: frontDoor.ca, image }),
      );
    for (const tool of ['podman', 'skopeo'] as const)
      itWorks(tool, () =>
        createContainersClient(tool, {
          ...{ host: namespace.host, ca: frontDoor.ca, image },
          within: namespace.inside,
        }),
      );

    it('containerd pushes and pulls in its scopes, and is refused elsewhere', async (t) => {
      containerd = await startContainerd({ namespace, caPath: frontDoor.caPath, image });
      succeeded(t, await containerd.push('team/containerd:1', `ci:${token}`));
      succeeded(t, await containerd.pull('team/containerd:1', `ci:${token}`));
      refused(t, await containerd.push('other/containerd:1', `ci:${token}`));
      await pushed('team/containerd');
      // At the end: a revocation is for all of them.
      await tokenCommand(frontDoor, 'revoke', 'ci');
      await frontDoor.logged((line) => line['tokens'] === 0);
      refused(t, await containerd.pull('team/containerd:1', `ci:${token}`));
    });
  });
