import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Client } from '../../support/clients.ts';
import { createContainersClient } from '../../support/clients-containers.ts';
import { findDockerClis } from '../../support/clients-docker.ts';
import { unlessNamespaces } from '../../support/engine-namespace.ts';
import { openEnginePlace, type EnginePlace } from '../../support/engine-place.ts';
import { password, startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { createImage, type Image } from '../../support/image.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const access = { loggedIn: true, trusting: true };

/** A pull that is answered from the cache brings what was pushed; the next push is what the next pull brings. */
async function pushPullPushPull(
  { frontDoor, registry }: Pick<EnginePlace, 'frontDoor' | 'registry'>,
  repository: string,
  createClient: (image: Image) => Promise<Client>,
): Promise<void> {
  const cleanUps: (() => Promise<void>)[] = [];
  const open = async (): Promise<Client> => {
    const image = await createImage({ layerCount: 1, layerBytes: 1000 });
    const client = await createClient(image);
    cleanUps.push(
      () => client.cleanUp(),
      () => image.remove(),
    );
    assert.equal((await client.login(password, access)).code, 0);
    return client;
  };
  const hits = () =>
    frontDoor.log.filter((line) => line['cache'] === 'HIT' && String(line['path']).includes(repository))
      .length;
  const pull = async (client: Client) => {
    const done = await client.pull(`${repository}:1`, access);
    assert.equal(done.code, 0, done.stderr);
    const { digest, id } = await client.pulled(`${repository}:1`);
    const stored = await registry.manifest(repository, '1');
    assert.deepEqual({ digest, id }, { digest: stored.digest, id: stored.configDigest });
    return digest;
  };
  const push = async (client: Client) => {
    const done = await client.push(`${repository}:1`, access);
    assert.equal(done.code, 0, done.stderr);
  };
  try {
    const first = await open();
    await push(first);
    const old = await pull(first);
    const before = hits();
    assert.equal(await pull(first), old);
    assert.ok(hits() > before, 'the second pull was not answered from the cache');
    const second = await open();
    await push(second);
    assert.notEqual(await pull(first), old);
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}

describe('real clients and the cache', { skip: unlessInstalled('docker-registry', 'tar') }, () => {
  let registry: Registry;
  let frontDoor: FrontDoor;
  before(async () => {
    registry = await startRegistry();
    frontDoor = await startFrontDoor({ upstreamUrl: registry.url, set: ['cache.tagTtl=1h'] });
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
  });
  for (const tool of ['podman', 'skopeo'] as const) {
    test(tool, { skip: unlessInstalled(tool) }, () =>
      pushPullPushPull({ frontDoor, registry }, `cached/${tool}`, (image) =>
        createContainersClient(tool, { host: `localhost:${frontDoor.port}`, ca: frontDoor.ca, image }),
      ),
    );
  }
});

const [cli] = await findDockerClis();
const skip =
  unlessInstalled('docker-registry', 'docker', 'dockerd', 'ip', 'unshare', 'nsenter', 'tar') ||
  unlessNamespaces();

describe('a Docker engine and the cache', { skip }, () => {
  let place: EnginePlace;
  before(async () => {
    place = await openEnginePlace(['cache.tagTtl=1h']);
  });
  after(() => place.close());
  test('docker', async () => {
    assert.ok(cli);
    await pushPullPushPull(place, 'cached/docker', (image) => place.createClient(cli, image));
  });
});
