import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { follow, unlessChromium } from '../../support/chromium.ts';
import { openConsole, recorded, type ConsolePlace } from '../../support/console/console-place.ts';
import { checkPage, findFaults } from '../../support/console/page-checks.ts';
import { pushPlausible } from '../../support/console/plausible-content.ts';
import { createPusher } from '../../support/console-images.ts';
import { htpasswdLine, password, user } from '../../support/front-door.ts';
import { tokenFile } from '../../support/machine-tokens.ts';
import { startRegistry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const shop = '/ui/r/shop/web';
/** Every page, and states of it. */
const pages = [
  ...['/ui/', '/ui/?q=nothing', '/ui/r/many?page=2'],
  ...[shop, `${shop}/-/i/latest`, `${shop}/-/compare?a=2.4.1&b=2.3.7`, `${shop}/-/compare?a=latest&b=gone`],
  ...[`${shop}/-/delete?tag=latest&tag=2.4.0`, `${shop}/-/raw/latest`, '/ui/r/charts/shop/-/i/1.6.0'],
  ...['/ui/account', '/ui/connect', '/ui/clean', '/ui/nothing'],
];

describe(
  'pages of the console on narrow and wide screens, light and dark',
  { timeout: 450_000, skip: unlessInstalled('docker-registry') || unlessChromium() },
  () => {
    let place: ConsolePlace;
    before(async () => {
      const set = [...recorded, 'auth.machineTokens=tokens.yml'];
      place = await openConsole({ content: pushContent, set });
      await place.untilListed();
    });
    after(() => place.stop());

    it('are accessible to axe, and no wider than the screen', () =>
      place.visit(async ({ page }) => {
        for (const path of pages) {
          await page.goto(path);
          await checkPage(page);
        }
      }));

    it('are so in Chinese', () =>
      place.visit(
        async ({ page }) => {
          for (const path of pages.filter((_, index) => index % 4 === 0)) {
            await page.goto(path);
            await checkPage(page, [360]);
          }
        },
        { language: 'zh-CN' },
      ));

    it('are so to those who have not logged in, and to those who are locked out', () =>
      place.visit(
        async ({ page, logIn }) => {
          await page.goto('/ui/login');
          await checkPage(page);
          const isLockedOut = async () => (await page.getByRole('alert').innerText()).includes('Too many');
          await logIn(user, 'wrong');
          await checkPage(page, [360]);
          for (let i = 0; i < 30 && !(await isLockedOut()); i++) await logIn(user, `wrong ${i}`);
          assert.ok(await isLockedOut());
          await checkPage(page, [360]);
        },
        { as: null },
      ));

    it('are so with a token just made, for those whom a policy allows little, and in an empty registry', async () => {
      const registry = await startRegistry();
      const elsewhere = await openConsole({
        ...{ registry, htpasswd: htpasswdLine + htpasswdLine.replace(user, 'bob') },
        set: [...recorded, tokenFile],
        config: `groups: { developers: [bob] }
policy:
  - { who: [user:${user}], repositories: ['**'], actions: [pull, push, delete] }
  - { who: [group:developers], repositories: ['team/**', 'base'], actions: [pull] }
`,
      });
      try {
        await elsewhere.untilListed();
        await elsewhere.visit(async ({ page }) => {
          await page.goto('/ui/');
          assert.match(await page.locator('main').innerText(), /docker push/);
          await checkPage(page);
          await page.goto('/ui/account');
          await page.getByLabel('Name').fill('ci');
          await page.getByLabel('Repositories').fill('team/**');
          await follow(page.getByRole('button', { name: 'Create a token' }));
          await page.locator('.notice.done pre').first().waitFor();
          await checkPage(page);
        });
        await elsewhere.visit(
          async ({ page }) => {
            await page.goto('/ui/');
            await checkPage(page);
            await page.goto('/ui/account?repository=team%2Fapp');
            assert.match(await page.locator('main').innerText(), /Rule 2/);
            await checkPage(page);
          },
          { as: ['bob', password] },
        );
      } finally {
        await elsewhere.stop();
        await registry.stop();
      }
    });

    it('are so when the registry is down', async () => {
      const elsewhere = await openConsole({ registry: { ...place.registry, url: 'http://127.0.0.1:9' } });
      try {
        await elsewhere.visit(async ({ page }) => {
          assert.equal((await page.goto(shop))?.status(), 504);
          assert.match(await page.locator('main').innerText(), /The registry does not answer/);
          await checkPage(page);
        });
      } finally {
        await elsewhere.stop();
      }
    });

    it('would be told of: axe finds what is planted', () =>
      place.visit(async ({ page }) => {
        await page.goto('/ui/connect');
        await page.evaluate(`document.querySelector('main').append(document.createElement('input'))`);
        assert.match((await findFaults(page)).join('\n'), /^label: <input>/);
      }));
  },
);

async function pushContent(url: string): Promise<void> {
  await pushPlausible(url);
  const many = createPusher(url, 'many');
  const config = await many.blob(Buffer.from('{}'), 'application/vnd.oci.image.config.v1+json');
  for (let i = 0; i < 90; i++) await many.manifest(`1.${i}`, { config, layers: [] });
}
