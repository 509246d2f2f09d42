import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createContainersClient } from '../../support/clients-containers.ts';
import { findDockerClis } from '../../support/clients-docker.ts';
import type { Client } from '../../support/clients.ts';
import { unlessNamespaces } from '../../support/engine-namespace.ts';
import { openEnginePlace, type EnginePlace } from '../../support/engine-place.ts';
import { password, startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { createImage, type Image } from '../../support/image.ts';
import { until } from '../../support/redis.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { startSlowConnections, type SlowConnections } from '../../support/slow-connections.ts';

const access = { loggedIn: true, trusting: true };
const fromMany = Array.from({ length: 200 }, (_, i) => `127.0.${1 + (i % 2)}.${1 + Math.floor(i / 2)}`);

/** Logs in, and then pushes and pulls while the connections fill what there is. */
async function pushAndPull(
  frontDoor: FrontDoor,
  client: Client,
  image: Image,
  start: () => SlowConnections,
): Promise<void> {
  assert.equal((await client.login(password, access)).code, 0);
  const slow = start();
  try {
    await until('they fill what there is', () => slow.opened >= 2000 && slow.closed > 0, 90_000);
    const before = slow.closed;
    const pushed = await client.push('slow/image:1', access);
    assert.equal(pushed.code, 0, pushed.stderr);
    for (let i = 0; i < 2; i++) {
      const pulled = await client.pull('slow/image:1', access);
      assert.equal(pulled.code, 0, pulled.stderr);
      assert.equal((await client.pulled('slow/image:1')).id, image.id);
    }
    await until('they went on meanwhile', () => slow.closed > before);
    await frontDoor.logged(({ msg }) => msg.includes('is reached') && msg.includes('oldest'));
  } finally {
    await slow.stop();
  }
}

describe('2,000 slow connections do not keep a push or a pull out', { timeout: 550_000 }, () => {
  let image: Image;
  before(async () => {
    image = await createImage({ layerCount: 3, layerBytes: 200_000 });
  });
  after(() => image.remove());

  describe('of skopeo', { skip: unlessInstalled('docker-registry', 'skopeo', 'tar') }, () => {
    let registry: Registry;
    before(async () => {
      registry = await startRegistry();
    });
    after(() => registry.stop());

    for (const [what, addresses, settings] of [
      ['from many addresses, all that are allowed', fromMany, ['limits.connections=1000']],
      [
        'from the address that a pull comes from, at two workers',
        ['127.0.0.1'],
        ['limits.connectionsPerAddress=500', 'workers=2'],
      ],
    ] as const) {
      test(what, async () => {
        const frontDoor = await startFrontDoor({ upstreamUrl: registry.url, set: settings });
        const { port, ca } = frontDoor;
        const skopeo = await createContainersClient('skopeo', { host: `localhost:${port}`, ca, image });
        try {
          await pushAndPull(frontDoor, skopeo, image, () => startSlowConnections(frontDoor, { addresses }));
        } finally {
          await skopeo.cleanUp();
          await frontDoor.stop();
        }
      });
    }
  });

  const needed = ['docker-registry', 'docker', 'dockerd', 'ip', 'unshare', 'nsenter', 'tar'];
  describe('of Docker', { skip: unlessInstalled(...needed) || unlessNamespaces() }, () => {
    let place: EnginePlace;
    before(async () => {
      place = await openEnginePlace(['limits.connections=1000']);
    });
    after(() => place.close());

    test('from many addresses, all that are allowed', async () => {
      const [cli] = await findDockerClis();
      assert.ok(cli);
      const { frontDoor, namespace } = place;
      const docker = await place.createClient(cli, image);
      try {
        await pushAndPull(frontDoor, docker, image, () =>
          startSlowConnections(frontDoor, { addresses: fromMany, within: namespace.networkOnly }),
        );
      } finally {
        await docker.cleanUp();
      }
    });
  });
});
