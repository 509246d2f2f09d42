import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { assertFailed, assertSucceeded, type Client } from '../../support/clients.ts';
import { startContainerd, type Containerd } from '../../support/clients-containerd.ts';
import { findDockerClis } from '../../support/clients-docker.ts';
import { unlessNamespaces } from '../../support/engine-namespace.ts';
import { openEnginePlace, type EnginePlace } from '../../support/engine-place.ts';
import { password, user, type FrontDoor, type LogLine } from '../../support/front-door.ts';
import { createImage, type Image } from '../../support/image.ts';
import type { Finished } from '../../support/processes.ts';
import { replaceConfig, replaceFile, sighup } from '../../support/reload.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const clis = await findDockerClis();
const skip =
  unlessInstalled('docker-registry', 'docker', 'dockerd', 'ctr', 'containerd') ||
  unlessInstalled('podman', 'buildah', 'skopeo', 'tar', 'ip', 'unshare', 'nsenter') ||
  unlessNamespaces();

const rulesFor = (repositories: string) => `
auth: { tokenKeys: [token.key] }
policy:
  - { who: [user:${user}], repositories: [${repositories}], actions: [pull, push] }
  - { who: [user:${user}], repositories: ["shared/**"], actions: [pull] }
  - { who: [anonymous], repositories: ["public/**"], actions: [pull] }
`;
const rules = rulesFor('"team/**", "public/**"');
const rulesBefore = rulesFor('"team/**", "public/**", "away/**"');

/** What each client must get of tokens: with a login what the rules allow, and without one what is public. */
describe('real clients with tokens', { skip }, () => {
  let place: EnginePlace;
  let frontDoor: FrontDoor;
  let containerd: Containerd | undefined;
  const images: Image[] = [];
  before(async () => {
    place = await openEnginePlace([], 'auth: { tokens: on }\n');
    ({ frontDoor } = place);
    await replaceFile(path.join(frontDoor.dir, 'token.key'), `${randomBytes(48).toString('base64')}\n`);
    await useRules(rules);
  });
  after(async () => {
    await place.close();
    await containerd?.cleanUp();
    for (const image of images) await image.remove();
  });
  const makeImage = async () => {
    const image = await createImage({ layerCount: 2, layerBytes: 5000 });
    images.push(image);
    return image;
  };
  const useRules = async (text: string) => {
    await replaceConfig(frontDoor, text);
    assert.equal((await sighup(frontDoor)).msg, 'reloaded');
  };

  /** The statuses of the starts of uploads: 201 is a mount, 202 the beginning of an upload. */
  const uploadStarts = (repository: string) =>
    frontDoor.log
      .filter((line) => line['path'] === `/v2/${repository}/blobs/uploads/` && line['method'] === 'POST')
      .map((line) => line['status']);

  const describeTokens = (
    name: string,
    client: {
      push: Push;
      pull: Push;
      /** Whether it asks the version check first, and mounts what it has pushed elsewhere. */
      isCareful: boolean;
      noRight: RegExp;
      unknown: RegExp;
      noLogin: RegExp;
    },
  ) => {
    const { push, pull } = client;
    it(`${name}: pushes where it may, and is told why where it may not`, async (t) => {
      await useRules(rulesBefore);
      assertSucceeded(t, await push(`away/${name}:1`, true));
      await useRules(rules);
      // What may not be pulled is not mounted, but uploaded.
      assertSucceeded(t, await push(`team/${name}:1`, true));
      assert.deepEqual(new Set(uploadStarts(`team/${name}`)), new Set([202]));
      assertSucceeded(t, await push(`public/${name}:1`, true));
      t.diagnostic(`starts of uploads to public: ${uploadStarts(`public/${name}`).join(' ')}`);
      assert.equal(uploadStarts(`public/${name}`).includes(201), client.isCareful);
      assertFailed(t, await push(`shared/${name}:1`, true), client.noRight);
      assertFailed(t, await push(`secret/${name}:1`, true), client.unknown);
      assertFailed(t, await push(`public/${name}:2`, false), client.noLogin);
    });

    it(`${name}: pulls without a login what is public, and nothing else`, async (t) => {
      const earlier = frontDoor.log.length;
      assertSucceeded(t, await pull(`public/${name}:1`, false));
      if (client.isCareful) {
        const line = await frontDoor.logged(
          (entry) => entry['path'] === '/token' && frontDoor.log.indexOf(entry) >= earlier,
        );
        assert.deepEqual([line['status'], line['user'], line['route']], [200, null, 'token']);
      }
      assertFailed(t, await pull(`team/${name}:1`, false), client.noLogin);
      assertSucceeded(t, await pull(`team/${name}:1`, true));
    });

    it(`${name}: pulls without a login what a rule for its network allows, and nothing elsewhere`, async (t) => {
      const ruleFor = (network: string) =>
        `${rules}  - { who: ["network:${network}"], repositories: ["team/**"], actions: [pull] }\n`;
      await useRules(ruleFor('198.51.100.0/24'));
      assertFailed(t, await pull(`team/${name}:1`, false), client.noLogin);
      await useRules(ruleFor(place.namespace.address));
      assertSucceeded(t, await pull(`team/${name}:1`, false));
      await useRules(rules);
      assertFailed(t, await pull(`team/${name}:1`, false), client.noLogin);
    });
  };
  type Push = (repositoryTag: string, loggedIn: boolean) => Promise<Finished>;

  const described = new Map<string, Client>();
  const describeClient = (name: string, create: (image: Image) => Promise<Client>) => {
    const client = () => described.get(name) ?? assert.fail('it was not created');
    it(`${name}: logs in with the right password and no other`, async (t) => {
      described.set(name, await create(await makeImage()));
      t.diagnostic(client().name);
      assertFailed(
        t,
        await client().login('wrong', { trusting: true }),
        /unauthorized|invalid username\/password/,
      );
      assert.equal(await client().hasCredentials(), false);
      assertSucceeded(t, await client().login(password, { trusting: true }));
      assert.equal(await client().hasCredentials(), true);
    });
    describeTokens(name, {
      push: (tag, loggedIn) => client().push(tag, { loggedIn, trusting: true }),
      pull: (tag, loggedIn) => client().pull(tag, { loggedIn, trusting: true }),
      isCareful: true,
      noLogin: /unauthorized: Credentials are needed|denied: requested access to the resource is denied/,
      noRight: new RegExp(`${user} may pull but not push shared/${name} \\(rule 2\\)`),
      unknown: new RegExp(`There is no repository secret/${name} that ${user} may know of`),
    });
    it(`${name}: leaves nothing`, () => client().cleanUp());
  };

  for (const [index, cli] of clis.entries()) {
    const name = `docker${index}`;
    describeClient(name, (image) => place.createClient(cli, image));
    it(`${name}: came by the refresh token that it keeps instead of the password`, () => {
      const isRefresh = (line: LogLine) => line['path'] === '/token' && line['method'] === 'POST';
      assert.ok(frontDoor.log.some((line) => isRefresh(line) && line['user'] === user));
    });
  }
  for (const tool of ['podman', 'buildah', 'skopeo'] as const) {
    describeClient(tool, (image) => place.createContainersClient(tool, image));
  }

  const useContainerd = () => containerd ?? assert.fail('it was not started');
  const right = (loggedIn: boolean) => (loggedIn ? `${user}:${password}` : null);
  it('containerd: is refused with a wrong password', async (t) => {
    containerd = await startContainerd({
      namespace: place.namespace,
      caPath: frontDoor.caPath,
      image: await makeImage(),
    });
    await useRules(rules);
    assertFailed(t, await containerd.push('team/containerd:1', `${user}:wrong`), /401|authorization failed/);
  });
  describeTokens('containerd', {
    push: (tag, loggedIn) => useContainerd().push(tag, right(loggedIn)),
    pull: (tag, loggedIn) => useContainerd().pull(tag, right(loggedIn)),
    isCareful: false,
    // The last is a race within it, when a body is refused.
    noLogin: /401 Unauthorized|authorization failed|read\/write on closed pipe/,
    noRight: /403 Forbidden/,
    unknown: /404 Not Found/,
  });
});
