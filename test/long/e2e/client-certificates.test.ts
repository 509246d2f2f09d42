import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createClientPair, type ClientPair } from '../../support/client-certificates.ts';
import type { Client } from '../../support/clients.ts';
import { createContainersClient } from '../../support/clients-containers.ts';
import { createDockerClient, dockerLogin, findDockerClis } from '../../support/clients-docker.ts';
import {
  openEngineNamespace,
  unlessNamespaces,
  type EngineNamespace,
} from '../../support/engine-namespace.ts';
import { startEngine, type Engine } from '../../support/engine.ts';
import { password, startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { createImage, type Image } from '../../support/image.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

/** A registry behind a Tidegate that demands certificates, and two of them: one of its CA and one of another. */
type Place = {
  registry: Registry;
  frontDoor: FrontDoor;
  alice: ClientPair;
  stranger: ClientPair;
  dir: string;
};

async function openPlace(options: {
  hosts: string[];
  set: string[];
  within?: readonly string[];
}): Promise<Place> {
  const within = options.within ?? [];
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
  const registry = await startRegistry({ within });
  const alice = await createClientPair(path.join(dir, 'own'), 'alice');
  const stranger = await createClientPair(path.join(dir, 'other'), 'alice');
  const frontDoor = await startFrontDoor({
    upstreamUrl: registry.url,
    hosts: options.hosts,
    set: [`tls.clientCa=${path.join(dir, 'own/client-ca.crt')}`, ...options.set],
    within,
  });
  return { registry, frontDoor, alice, stranger, dir };
}

async function closePlace({ registry, frontDoor, dir }: Place): Promise<void> {
  await frontDoor.stop();
  await registry.stop();
  await rm(dir, { recursive: true, force: true });
}

const access = { loggedIn: true, trusting: true };

/** Logs in, pushes and pulls, which must work. */
async function useAll(client: Client, image: Image, repositoryTag: string): Promise<void> {
  for (const step of [
    () => client.login(password, access),
    () => client.push(repositoryTag, access),
    () => client.pull(repositoryTag, access),
  ]) {
    const done = await step();
    assert.equal(done.code, 0, done.stderr);
  }
  assert.equal((await client.pulled(repositoryTag)).id, image.id);
}

describe('skopeo with tls.clientCa', { skip: unlessInstalled('docker-registry', 'skopeo', 'tar') }, () => {
  let place: Place;
  let image: Image;
  before(async () => {
    image = await createImage({ layerCount: 2 });
    place = await openPlace({ hosts: ['localhost'], set: [] });
  });
  after(async () => {
    await closePlace(place);
    await image.remove();
  });
  const createClient = (clientPair?: ClientPair) => {
    const { frontDoor } = place;
    const options = { host: `localhost:${frontDoor.port}`, ca: frontDoor.ca, image };
    return createContainersClient('skopeo', clientPair === undefined ? options : { ...options, clientPair });
  };

  it('logs in, pushes and pulls with its certificate', async () => {
    const client = await createClient(place.alice);
    try {
      await useAll(client, image, 'team/app:1');
    } finally {
      await client.cleanUp();
    }
  });

  it('does nothing without one, nor with one of another CA, whatever its password', async () => {
    for (const pair of [undefined, place.stranger]) {
      const client = await createClient(pair);
      try {
        assert.notEqual((await client.login(password, access)).code, 0);
        assert.notEqual((await client.push('team/other:1', access)).code, 0);
      } finally {
        await client.cleanUp();
      }
    }
    await assert.rejects(place.registry.manifest('team/other', '1'));
  });
});

const skip =
  unlessInstalled('docker-registry', 'docker', 'dockerd', 'ip', 'unshare', 'nsenter', 'tar') ||
  unlessNamespaces();
const [cli] = await findDockerClis();

describe('Docker with tls.clientCa', { skip }, () => {
  let namespace: EngineNamespace;
  let engine: Engine;
  let place: Place;
  let image: Image;
  let client: Client;
  before(async () => {
    assert.ok(cli);
    image = await createImage({ layerCount: 2 });
    namespace = await openEngineNamespace();
    engine = await startEngine(namespace);
    place = await openPlace({
      hosts: [namespace.host],
      set: ['listen.host=0.0.0.0', 'listen.port=443'],
      within: namespace.networkOnly,
    });
    client = await createDockerClient(cli, { namespace, engine, ca: place.frontDoor.ca, image });
  });
  after(async () => {
    await client.cleanUp();
    await closePlace(place);
    await namespace.close();
    await engine.cleanUp();
    await image.remove();
  });

  it('does nothing without a certificate, nor with one of another CA, whatever its password', async () => {
    for (const pair of [null, place.stranger]) {
      namespace.show(pair);
      assert.notEqual((await client.login(password, access)).code, 0);
      assert.notEqual((await client.push('team/other:1', access)).code, 0);
    }
    await assert.rejects(place.registry.manifest('team/other', '1'));
  });

  it('logs in, pushes and pulls with client.cert and client.key in certs.d, and no more once they are gone', async () => {
    namespace.show(place.alice);
    await useAll(client, image, 'team/app:1');
    namespace.show(null);
    assert.notEqual((await client.pull('team/app:1', access)).code, 0);
  });

  it('docker login with no engine shows them too', async () => {
    assert.ok(cli);
    for (const [pair, code] of [
      [place.alice, 0],
      [null, 1],
    ] as const) {
      namespace.show(pair);
      await namespace.trust(place.frontDoor.ca);
      const configDir = await mkdtemp(`${tmpdir()}/tidegate-docker-`);
      const done = await dockerLogin(cli, {
        ...{ host: namespace.host, password, configDir, within: namespace.inside },
        engineUrl: 'unix:///nonexistent/docker.sock',
      });
      await rm(configDir, { recursive: true });
      assert.equal(done.code, code, done.stderr);
    }
  });
});
