import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { lastLine } from '../support/clients.ts';
import { createDockerClient, dockerLogin, findDockerClis } from '../support/clients-docker.ts';
import { openEngineNamespace, unlessNamespaces, type EngineNamespace } from '../support/engine-namespace.ts';
import { startEngine, type Engine } from '../support/engine.ts';
import { password, startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { describeClient } from './client-suite.ts';
import { itKeepsLockedTags, lockedTags } from './locked-tag.ts';

const clis = await findDockerClis();
const skip =
  unlessInstalled('docker-registry', 'docker', 'dockerd', 'ip', 'unshare', 'nsenter') || unlessNamespaces();

describe('Docker with an engine', { skip }, () => {
  let namespace: EngineNamespace;
  let engine: Engine;
  let registry: Registry;
  let frontDoor: FrontDoor;
  before(async () => {
    namespace = await openEngineNamespace();
    engine = await startEngine(namespace);
    registry = await startRegistry({ within: namespace.networkOnly });
    frontDoor = await startFrontDoor({
      upstreamUrl: registry.url,
      hosts: [namespace.host],
      set: ['listen.host=0.0.0.0', 'listen.port=443', lockedTags],
      within: namespace.networkOnly,
    });
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
    await namespace.close();
    await engine.cleanUp();
  });

  for (const cli of clis) {
    describeClient(`docker ${cli.version}`, {
      skip: unlessInstalled('tar'),
      place: () => ({ frontDoor, registry }),
      repository: `team/docker-${cli.version.replace(/[^a-z0-9]+/g, '-')}`,
      createClient: (image) => createDockerClient(cli, { namespace, engine, ca: frontDoor.ca, image }),
    });

    itKeepsLockedTags(`docker ${cli.version}`, {
      skip: unlessInstalled('tar'),
      createClient: (image) => createDockerClient(cli, { namespace, engine, ca: frontDoor.ca, image }),
    });

    // On loopback Docker never verifies: it must work there without having been told of the CA.
    it(`lets docker ${cli.version} log in on loopback`, async (t) => {
      await namespace.trust(null);
      const configDir = await mkdtemp(`${tmpdir()}/tidegate-docker-`);
      const options = { host: '127.0.0.1:443', configDir, engineUrl: engine.url };
      const wrong = await dockerLogin(cli, { ...options, password: 'wrong' });
      const right = await dockerLogin(cli, { ...options, password });
      await rm(configDir, { recursive: true });
      t.diagnostic(`wrong password: ${lastLine(wrong)}`);
      t.diagnostic(`right password: ${lastLine(right)}`);
      assert.equal(wrong.code, 1);
      assert.equal(right.code, 0, right.stderr);
      assert.match(right.stdout, /Login Succeeded/);
    });
  }
});
