import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createContainersClient, type ContainersTool } from '../../support/clients-containers.ts';
import { password, startFrontDoor, user, type FrontDoor } from '../../support/front-door.ts';
import { createImage, type Image } from '../../support/image.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { describeClient } from '../../e2e/client-suite.ts';

describe('clients built on containers/image', { skip: unlessInstalled('docker-registry') }, () => {
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

  const createClient = (tool: ContainersTool) => (image: Image) =>
    createContainersClient(tool, { host: `localhost:${frontDoor.port}`, ca: frontDoor.ca, image });

  // Skopeo is in test/e2e/skopeo.test.ts.
  for (const tool of ['podman', 'buildah'] as const) {
    describeClient(tool, {
      skip: unlessInstalled(tool, 'tar'),
      place: () => ({ frontDoor, registry }),
      repository: `team/${tool}`,
      createClient: createClient(tool),
    });
  }
});

/** Such a client sends an empty name and an empty password where it has none and is asked for them. */
const publicRules = `
auth: { tokens: off, throttle: { addressFailures: 2, repeatFailures: 2, answerDelay: 0 } }
policy:
  - { who: [user:${user}], repositories: ["**"], actions: [pull, push] }
  - { who: [anonymous], repositories: ["public/**"], actions: [pull] }
`;

describe(
  'clients built on containers/image without a login',
  { skip: unlessInstalled('docker-registry') },
  () => {
    let registry: Registry;
    let frontDoor: FrontDoor;
    let image: Image;
    before(async () => {
      [registry, image] = await Promise.all([startRegistry(), createImage({ layerCount: 1 })]);
      frontDoor = await startFrontDoor({ upstreamUrl: registry.url, config: publicRules });
    });
    after(async () => {
      await frontDoor.stop();
      await registry.stop();
      await image.remove();
    });
    const everything = { loggedIn: true, trusting: true };
    const nobody = { loggedIn: false, trusting: true };

    for (const tool of ['podman', 'buildah', 'skopeo'] as const) {
      it(`${tool} pulls what is public, again and again, and is asked for what is not`, async (t) => {
        const missing = unlessInstalled(tool, 'tar');
        if (missing !== false) {
          t.skip(missing);
          return;
        }
        const client = await createContainersClient(tool, {
          ...{ host: `localhost:${frontDoor.port}`, ca: frontDoor.ca, image },
        });
        const [open, closed] = [`public/${tool}:1`, `team/${tool}:1`];
        try {
          assert.equal((await client.login(password, { trusting: true })).code, 0);
          for (const tag of [open, closed]) assert.equal((await client.push(tag, everything)).code, 0);
          for (let i = 0; i < 4; i++) {
            const done = await client.pull(open, nobody);
            assert.equal(done.code, 0, done.stderr);
          }
          const refused = await client.pull(closed, nobody);
          assert.match(refused.stderr, /Credentials are needed: log in/);
          // Nobody has guessed a password: a right one is taken.
          assert.equal((await client.login(password, { trusting: true })).code, 0);
          assert.equal((await client.pull(closed, everything)).code, 0);
          assert.ok(frontDoor.log.every(({ reason }) => reason !== 'wrong-credentials'));
        } finally {
          await client.cleanUp();
        }
      });
    }
  },
);
