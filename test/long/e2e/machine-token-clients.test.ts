import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { assertFailed, assertSucceeded, type Client } from '../../support/clients.ts';
import { startContainerd, type Containerd } from '../../support/clients-containerd.ts';
import { findDockerClis } from '../../support/clients-docker.ts';
import { unlessNamespaces } from '../../support/engine-namespace.ts';
import { openEnginePlace, type EnginePlace } from '../../support/engine-place.ts';
import type { FrontDoor } from '../../support/front-door.ts';
import { createImage, type Image } from '../../support/image.ts';
import { patient, tokenCommand, tokenFile } from '../../support/machine-tokens.ts';
import type { Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const clis = await findDockerClis();
const skip =
  unlessInstalled('docker-registry', 'docker', 'dockerd', 'ctr', 'containerd') ||
  unlessInstalled('podman', 'skopeo', 'tar', 'ip', 'unshare', 'nsenter') ||
  unlessNamespaces();
const everything = { loggedIn: true, trusting: true };

/** What a machine token must be to each client: a password that pushes and pulls where its scopes say, and nowhere else. */
for (const tokens of ['off', 'on'])
  describe(`real clients with a machine token, auth.tokens ${tokens}`, { skip, timeout: 550_000 }, () => {
    let place: EnginePlace;
    let registry: Registry;
    let frontDoor: FrontDoor;
    let image: Image;
    let containerd: Containerd | undefined;
    let token: string;
    before(async () => {
      place = await openEnginePlace([tokenFile, ...patient, `auth.tokens=${tokens}`]);
      ({ registry, frontDoor } = place);
      image = await createImage({ layerCount: 2, layerBytes: 5000 });
      const scopes = ['--repositories', 'team/**', '--actions', 'pull,push', '--expires', '1d'];
      token = await tokenCommand(frontDoor, 'create', 'ci', ...scopes);
      await frontDoor.logged((line) => line['tokens'] === 1);
    });
    after(async () => {
      await place.close();
      await containerd?.cleanUp();
      await image.remove();
    });
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
          assertFailed(t, await client.login(wrong, { trusting: true, name: 'ci' }));
          assertSucceeded(t, await client.login(token, { trusting: true, name: 'ci' }));
          assertSucceeded(t, await client.push(`team/${name}:1`, everything));
          assertFailed(
            t,
            await client.push(`other/${name}:1`, everything),
            /no repository|does not exist|denied/,
          );
          assertSucceeded(t, await client.pull(`team/${name}:1`, everything));
          assert.equal((await client.pulled(`team/${name}:1`)).id, image.id);
          await pushed(`team/${name}`);
        } finally {
          await client.cleanUp();
        }
      });
    };
    for (const cli of clis)
      itWorks(`docker-${cli.version.replace(/[^0-9.].*/, '')}`, () => place.createClient(cli, image));
    for (const tool of ['podman', 'skopeo'] as const)
      itWorks(tool, () => place.createContainersClient(tool, image));

    it('containerd pushes and pulls in its scopes, and is refused elsewhere', async (t) => {
      containerd = await startContainerd({ namespace: place.namespace, caPath: frontDoor.caPath, image });
      assertSucceeded(t, await containerd.push('team/containerd:1', `ci:${token}`));
      assertSucceeded(t, await containerd.pull('team/containerd:1', `ci:${token}`));
      assertFailed(t, await containerd.push('other/containerd:1', `ci:${token}`));
      await pushed('team/containerd');
      // At the end: a revocation is for all of them.
      await tokenCommand(frontDoor, 'revoke', 'ci');
      await frontDoor.logged((line) => line['tokens'] === 0);
      assertFailed(t, await containerd.pull('team/containerd:1', `ci:${token}`));
    });
  });
