import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { after, before, describe, it, type TestContext } from 'node:test';
import { lastLine, unknownAuthority } from '../support/clients.ts';
import { dockerLogin, findDockerClis, type DockerCli } from '../support/clients-docker.ts';
import { openEngineNamespace, unlessNamespaces, type EngineNamespace } from '../support/engine-namespace.ts';
import { basic, password, startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const skip = unlessInstalled('docker', 'docker-registry');
const clis = skip === false ? await findDockerClis() : [];
const engineUrl = 'unix:///nonexistent/docker.sock';

/** Logs in with nothing stored before; gives what the CLI answered and the credentials that it stored. */
async function login(
  t: TestContext,
  cli: DockerCli,
  options: { host: string; password: string; within?: readonly string[] },
) {
  const configDir = await mkdtemp(`${tmpdir()}/tidegate-docker-`);
  const done = await dockerLogin(cli, { ...options, configDir, engineUrl });
  const stored = await readFile(`${configDir}/config.json`, 'utf8').catch(() => '{}');
  await rm(configDir, { recursive: true });
  t.diagnostic(`${options.host}: ${lastLine(done)}`);
  const { auths = {} } = JSON.parse(stored) as { auths?: Record<string, { auth?: string }> };
  return { ...done, stored: auths[options.host]?.auth };
}
const storedBasic = basic.slice('Basic '.length);

describe('docker login with no engine', { skip }, () => {
  let registry: Registry;
  let frontDoor: FrontDoor;
  before(async () => {
    registry = await startRegistry();
    frontDoor = await startFrontDoor({ upstreamUrl: registry.url });
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
  });

  // On loopback Docker never verifies: it must work there without having been told of the CA.
  for (const cli of clis) {
    it(`docker ${cli.version} refuses a wrong password`, async (t) => {
      const done = await login(t, cli, { host: `127.0.0.1:${frontDoor.port}`, password: 'wrong' });
      assert.equal(done.code, 1, done.stdout);
      assert.equal(done.stored, undefined);
      assert.match(done.stderr, /401 Unauthorized/);
    });

    it(`docker ${cli.version} accepts the right one`, async (t) => {
      const done = await login(t, cli, { host: `127.0.0.1:${frontDoor.port}`, password });
      assert.equal(done.code, 0, done.stderr);
      assert.match(done.stdout, /Login Succeeded/);
      assert.equal(done.stored, storedBasic);
    });
  }
});

const skipVerified = skip || unlessInstalled('ip', 'unshare', 'nsenter') || unlessNamespaces();

describe('docker login with no engine, where Docker verifies the certificate', { skip: skipVerified }, () => {
  let namespace: EngineNamespace;
  let registry: Registry;
  let frontDoor: FrontDoor;
  before(async () => {
    namespace = await openEngineNamespace();
    registry = await startRegistry({ within: namespace.networkOnly });
    frontDoor = await startFrontDoor({
      upstreamUrl: registry.url,
      hosts: [namespace.host],
      set: [`listen.host=${namespace.address}`, 'listen.port=443'],
      within: namespace.networkOnly,
    });
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
    await namespace.close();
  });

  for (const cli of clis) {
    const attempt = async (t: TestContext, attempted: string, ca: string | null) => {
      await namespace.trust(ca);
      return login(t, cli, { host: namespace.host, password: attempted, within: namespace.inside });
    };

    it(`docker ${cli.version} refuses a CA it does not know`, async (t) => {
      const done = await attempt(t, password, null);
      assert.equal(done.code, 1, done.stdout);
      assert.match(done.stderr, unknownAuthority);
      assert.equal(done.stored, undefined);
    });

    it(`docker ${cli.version} refuses a wrong password`, async (t) => {
      const done = await attempt(t, 'wrong', frontDoor.ca);
      assert.equal(done.code, 1, done.stdout);
      assert.match(done.stderr, /401 Unauthorized/);
      assert.equal(done.stored, undefined);
    });

    it(`docker ${cli.version} accepts the right one`, async (t) => {
      const done = await attempt(t, password, frontDoor.ca);
      assert.equal(done.code, 0, done.stderr);
      assert.match(done.stdout, /Login Succeeded/);
      assert.equal(done.stored, storedBasic);
    });
  }
});
