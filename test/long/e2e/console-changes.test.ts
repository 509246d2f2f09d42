import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Page } from 'playwright-core';
import { follow, unlessChromium } from '../../support/chromium.ts';
import { createContainersClient } from '../../support/clients-containers.ts';
import { dockerLogin, findDockerClis } from '../../support/clients-docker.ts';
import type { Client } from '../../support/clients.ts';
import { openConsole, recorded, type ConsolePlace } from '../../support/console/console-place.ts';
import { createPusher } from '../../support/console-images.ts';
import { htpasswdLine, password, user } from '../../support/front-door.ts';
import { createImage, type Image } from '../../support/image.ts';
import { patient, tokenFile } from '../../support/machine-tokens.ts';
import { until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const everything = { loggedIn: true, trusting: true };
const newPassword = 'a longer: sesame, 开门';
const bob = 'bob';
/** Alice may do all; Bob, with the same password, what is his. */
const config = `policy:
  - { who: [user:alice], repositories: ['**'], actions: [pull, push, delete, overwrite] }
  - { who: [user:bob], repositories: ['bob/**'], actions: [pull, push] }
`;

describe(
  'changes by the console',
  {
    timeout: 300_000,
    skip: unlessInstalled('docker-registry', 'docker', 'skopeo', 'tar') || unlessChromium(),
  },
  () => {
    let place: ConsolePlace;
    let image: Image;
    let client: Client;
    before(async () => {
      image = await createImage({ layerCount: 1, layerBytes: 1000 });
      place = await openConsole({
        content: pushContent,
        set: [...recorded, ...patient, tokenFile, 'workers=2'],
        config,
        htpasswd: htpasswdLine + htpasswdLine.replace(user, bob),
      });
      await place.untilListed();
      const { port, ca } = place.door;
      client = await createContainersClient('skopeo', { host: `localhost:${port}`, ca, image });
    });
    after(async () => {
      await client.cleanUp();
      await place.stop();
      await image.remove();
    });

    it('a tag is deleted, and its twin stays, as the page said', () =>
      place.visit(async ({ page }) => {
        await page.goto('/ui/r/bob/app');
        await page.locator('input[value="1.1"]').check();
        await follow(page.getByRole('button', { name: 'Delete' }));
        const text = await page.locator('main').innerText();
        assert.match(text, /Delete this tag\?[\s\S]*The same image stays as latest\./);
        await follow(page.getByRole('button', { name: 'Delete' }));
        assert.match(await page.getByRole('status').first().innerText(), /Deleted: 1\.1\./);
        assert.deepEqual(await tags(page), ['1.0', 'latest']);
        const line = await place.door.logged(({ msg, action }) => msg === 'delete' || action === 'delete');
        assert.equal(line['user'], user);
        assert.deepEqual(await listTags('bob/app'), ['1.0', 'latest']);
      }));

    it('an image is deleted with all its tags, as the page said', () =>
      place.visit(async ({ page }) => {
        await page.goto('/ui/r/other/app/-/i/latest');
        await follow(page.getByRole('link', { name: 'Delete the image' }));
        assert.match(await page.locator('main').innerText(), /All 2 of its tags: 1\.1, latest/);
        await follow(page.getByRole('button', { name: 'Delete' }));
        assert.deepEqual(await tags(page), ['1.0']);
        assert.deepEqual(await listTags('other/app'), ['1.0']);
      }));

    it('a user sees and changes what the policy lets them', () =>
      place.visit(
        async ({ page }) => {
          assert.deepEqual(await page.locator('tbody th a').allInnerTexts(), ['bob/app']);
          for (const path of ['/ui/?q=other', '/ui/?sort=-size', '/ui/?page=2']) {
            await page.goto(path);
            assert.doesNotMatch(await page.locator('#results').innerText(), /other\/app/);
          }
          for (const path of [
            '/ui/r/other/app',
            '/ui/r/other/app/-/i/1.0',
            '/ui/r/other/app/-/compare?a=1.0&b=1.0',
          ])
            assert.equal((await page.goto(path))?.status(), 404, path);
          await page.goto('/ui/r/bob/app');
          assert.equal(await page.getByRole('button', { name: 'Delete' }).count(), 0);
          assert.equal((await page.goto('/ui/r/bob/app/-/delete?tag=1.0'))?.status(), 403);
          await page.goto('/ui/account?repository=other%2Fapp');
          const rights = await page.locator('section[aria-labelledby=rights]').innerText();
          assert.match(rights, /In other\/app you may: nothing\. No rule matches\./);
          assert.match(rights, /Rule 2\s+bob\/\*\*\s+pull, push/);
        },
        { as: [bob, password] },
      ));

    it('a token is made, pushes, is revoked, and pushes no more', () =>
      place.visit(async ({ page }) => {
        await page.goto('/ui/account');
        await page.getByLabel('Name').fill('ci');
        await page.getByLabel('Repositories').fill('team/**');
        await page.getByLabel('push').check();
        await follow(page.getByRole('button', { name: 'Create a token' }));
        const token = await page.locator('.notice.done pre').first().innerText();
        assert.match(await page.locator('.notice.done').innerText(), /docker login -u ci localhost:\d+/);
        await page.reload().catch(() => {});
        const login = () => client.login(token, { trusting: true, name: 'ci' });
        await until('the token is known', async () => (await login()).code === 0);
        await logInDocker(token, /Login Succeeded/, 'ci');
        assert.equal((await client.push('team/app:1', everything)).code, 0);
        assert.notEqual((await client.push('bob/app:1', everything)).code, 0);
        await page.goto('/ui/account');
        assert.doesNotMatch(await page.content(), new RegExp(token));
        assert.match(
          await page.locator('section[aria-labelledby=tokens] table').innerText(),
          /ci[\s\S]*team\/\*\*/,
        );
        await follow(page.getByRole('button', { name: 'Revoke token ci' }));
        assert.match(await page.getByRole('status').first().innerText(), /Token ci is revoked/);
        await until(
          'the token is gone',
          async () => (await client.push('team/app:2', everything)).code !== 0,
        );
        await logInDocker(token, /401 Unauthorized/, 'ci');
      }));

    it('a password is changed: the new one counts, the old one does not, and other sessions have ended', () =>
      place.visit(async (here) => {
        await place.visit(async (there) => {
          const { page } = here;
          await page.goto('/ui/account');
          const change = async (current: string, next: string, repeated: string) => {
            await page.getByLabel('Current password').fill(current);
            await page.getByLabel('New password', { exact: true }).fill(next);
            await page.getByLabel('New password again').fill(repeated);
            await follow(page.getByRole('button', { name: 'Change the password' }));
          };
          await change('wrong', newPassword, newPassword);
          assert.match(await page.getByRole('alert').innerText(), /The current password is wrong/);
          await change(password, newPassword, `${newPassword}!`);
          assert.match(await page.getByRole('alert').innerText(), /The two new passwords differ/);
          await change(password, newPassword, newPassword);
          assert.match(await page.getByRole('status').first().innerText(), /Your password is changed/);
          // Two workers: each must have heard of it.
          await until('the other session has ended', async () => {
            await there.page.goto('/ui/account');
            return there.page.url().includes('/ui/login');
          });
          const login = (word: string) => client.login(word, { trusting: true });
          await until('the new password counts', async () => (await login(newPassword)).code === 0);
          assert.notEqual((await login(password)).code, 0);
          await logInDocker(newPassword, /Login Succeeded/);
          await logInDocker(password, /401 Unauthorized/);
          await here.logIn(user, newPassword);
          await page.getByRole('heading', { name: 'Repositories', level: 1 }).waitFor();
        });
      }));

    /** Checks what `docker login` says. It needs no engine for that; on loopback it verifies no certificate. */
    const logInDocker = async (word: string, expected: RegExp, name = user): Promise<void> => {
      for (const cli of await findDockerClis()) {
        const configDir = await mkdtemp(path.join(tmpdir(), 'tidegate-docker-'));
        const host = `127.0.0.1:${place.door.port}`;
        const login = { ...{ host, name, password: word, configDir }, engineUrl: 'unix:///nonexistent' };
        const { stdout, stderr } = await dockerLogin(cli, login);
        assert.match(stdout + stderr, expected, cli.version);
        await rm(configDir, { recursive: true });
      }
    };
    const listTags = async (repository: string): Promise<string[]> => {
      const answer = await fetch(`${place.registry.url}/v2/${repository}/tags/list`);
      return ((await answer.json()) as { tags: string[] }).tags.toSorted();
    };
  },
);

const tags = (page: Page): Promise<string[]> => page.locator('tbody th a').allInnerTexts();

/** Two repositories of three tags, two of them twins. */
async function pushContent(url: string): Promise<void> {
  for (const repository of ['bob/app', 'other/app']) {
    const push = createPusher(url, repository);
    await push.image('1.0');
    const config = await push.blob(
      Buffer.from('{"os":"linux","architecture":"amd64"}'),
      'application/vnd.oci.image.config.v1+json',
    );
    for (const tag of ['1.1', 'latest']) await push.manifest(tag, { config, layers: [] });
  }
}
