import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { lastLine } from '../support/clients.ts';
import { dockerLogin, findDockerClis } from '../support/clients-docker.ts';
import { unlessNamespaces } from '../support/engine-namespace.ts';
import { openEnginePlace, type EnginePlace } from '../support/engine-place.ts';
import { password } from '../support/front-door.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { describeClient } from './client-suite.ts';
import { itKeepsLockedTags, lockedTags } from './locked-tag.ts';

const clis = await findDockerClis();
const skip =
  unlessInstalled('docker-registry', 'docker', 'dockerd', 'ip', 'unshare', 'nsenter') || unlessNamespaces();

describe('Docker with an engine', { skip }, () => {
  let place: EnginePlace;
  before(async () => {
    place = await openEnginePlace([lockedTags]);
  });
  after(() => place.close());

  for (const cli of clis) {
    describeClient(`docker ${cli.version}`, {
      skip: unlessInstalled('tar'),
      place: () => place,
      repository: `team/docker-${cli.version.replace(/[^a-z0-9]+/g, '-')}`,
      createClient: (image) => place.createClient(cli, image),
    });

    itKeepsLockedTags(`docker ${cli.version}`, {
      skip: unlessInstalled('tar'),
      createClient: (image) => place.createClient(cli, image),
    });

    // On loopback Docker never verifies: it must work there without having been told of the CA.
    it(`lets docker ${cli.version} log in on loopback`, async (t) => {
      await place.namespace.trust(null);
      const configDir = await mkdtemp(`${tmpdir()}/tidegate-docker-`);
      const options = { host: '127.0.0.1:443', configDir, engineUrl: place.engine.url };
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
