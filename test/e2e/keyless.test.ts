import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { createContainersClient } from '../support/clients-containers.ts';
import { dockerLogin, findDockerClis } from '../support/clients-docker.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { createImage } from '../support/image.ts';
import { audience } from '../support/issuer.ts';
import { startRealIssuer, type RealIssuer } from '../support/real-issuer.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const skipDocker = unlessInstalled('docker', 'docker-registry');
const clis = skipDocker === false ? await findDockerClis() : [];
const access = { loggedIn: true, trusting: true };

for (const tokens of ['off', 'on'])
  describe(
    `a job with real clients, auth.tokens ${tokens}`,
    { skip: unlessInstalled('docker-registry') },
    () => {
      let registry: Registry;
      let issuer: RealIssuer;
      let frontDoor: FrontDoor;
      let token = '';
      before(async () => {
        registry = await startRegistry();
        issuer = await startRealIssuer();
        frontDoor = await startFrontDoor({
          upstreamUrl: registry.url,
          config: `auth:
  tokens: ${tokens}
  oidc: [{ name: ci, issuer: "${issuer.url}", audience: ${audience}, ca: "${issuer.caPath}" }]
policy:
  - { who: [{ oidc: ci, claims: { repository: "acme/*" } }], repositories: ["acme/**"], actions: [pull, push] }
`,
        });
        token = await issuer.token(audience, { sub: 'a', repository: 'acme/app', ref: 'refs/heads/main' });
      });
      after(async () => {
        await frontDoor.stop();
        await issuer.stop();
        await registry.stop();
      });

      it(
        'skopeo logs in as oidc, pushes and pulls where the rule says',
        { skip: unlessInstalled('skopeo') },
        async () => {
          const image = await createImage({ layerCount: 2, layerBytes: 10_000 });
          const host = `localhost:${frontDoor.port}`;
          const client = await createContainersClient('skopeo', { host, ca: frontDoor.ca, image });
          try {
            const wrong = await client.login(await issuer.token('other.example.com', { sub: 'a' }), {
              ...{ trusting: true, name: 'oidc' },
            });
            assert.notEqual(wrong.code, 0);
            const login = await client.login(token, { trusting: true, name: 'oidc' });
            assert.equal(login.code, 0, login.stderr);
            const push = await client.push('acme/app:v1', access);
            assert.equal(push.code, 0, push.stderr);
            const pull = await client.pull('acme/app:v1', access);
            assert.equal(pull.code, 0, pull.stderr);
            assert.notEqual((await client.push('other/app:v1', access)).code, 0);
            const audited = await frontDoor.logged(
              ({ msg, ...line }) => msg === 'push' && line['status'] === 201,
            );
            assert.equal(audited['user'], 'job:ci acme/app@refs/heads/main');
          } finally {
            await client.cleanUp();
            await image.remove();
          }
        },
      );

      for (const cli of clis)
        it(`docker ${cli.version} logs in as oidc`, async () => {
          const configDir = await mkdtemp(`${tmpdir()}/tidegate-docker-`);
          const options = { host: `127.0.0.1:${frontDoor.port}`, configDir, name: 'oidc' };
          const engineUrl = 'unix:///nonexistent/docker.sock';
          const right = await dockerLogin(cli, { ...options, password: token, engineUrl });
          assert.equal(right.code, 0, right.stderr);
          const cut = await dockerLogin(cli, { ...options, password: token.slice(0, -9), engineUrl });
          assert.equal(cut.code, 1, cut.stdout);
          await rm(configDir, { recursive: true });
        });
    },
  );
