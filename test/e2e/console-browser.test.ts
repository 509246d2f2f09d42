import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { follow, unlessChromium } from '../support/chromium.ts';
import { openConsole, type ConsolePlace } from '../support/console/console-place.ts';
import { createPusher } from '../support/console-images.ts';
import { password, user } from '../support/front-door.ts';
import { unlessInstalled } from '../support/requirement.ts';

/** One short path; all that a visitor can do is in test/long/e2e/console-*.test.ts. */
describe(
  'the console in Chromium',
  { timeout: 360_000, skip: unlessInstalled('docker-registry') || unlessChromium() },
  () => {
    let place: ConsolePlace;
    before(async () => {
      place = await openConsole({
        content: (url) => createPusher(url, 'team/app').image('1.0', { layers: 3 }),
      });
    });
    after(() => place.stop());

    it('lets in with the right password only, shows an image, copies its command, and lets out', () =>
      place.visit(
        async ({ page, context, logIn }) => {
          await page.goto('/');
          assert.match(page.url(), /\/ui\/login\?to=/);
          await logIn(user, 'wrong');
          assert.match(await page.getByRole('alert').innerText(), /Name or password is wrong/);
          assert.equal(await page.getByLabel('Name').inputValue(), user);

          await page.getByLabel('Password').fill(password);
          await follow(page.getByRole('button', { name: 'Log in' }));
          await page.getByRole('heading', { name: 'Repositories', level: 1 }).waitFor();
          const [session] = await context.cookies();
          assert.deepEqual(
            [session?.name, session?.httpOnly, session?.secure, session?.sameSite],
            ['__Host-tidegate', true, true, 'Strict'],
          );
          assert.equal(await page.evaluate('document.cookie'), '');

          await follow(page.getByRole('link', { name: 'team/app' }));
          await follow(page.getByRole('link', { name: '1.0' }));
          assert.match(await page.locator('main').innerText(), /3 layers/);
          await page.getByRole('button', { name: /^Copy: docker pull/ }).click();
          await page.getByRole('button', { name: 'Copied' }).or(page.getByText('Copied')).first().waitFor();
          assert.equal(
            await page.evaluate('navigator.clipboard.readText()'),
            `docker pull localhost:${place.door.port}/team/app:1.0`,
          );

          await follow(page.getByRole('button', { name: 'Log out' }));
          assert.match(await page.getByRole('status').first().innerText(), /You are logged out/);
          await page.goto('/ui/r/team/app');
          assert.match(page.url(), /\/ui\/login\?to=%2Fui%2Fr%2Fteam%2Fapp$/);
        },
        { as: null },
      ));

    it('keeps the session of a visitor whom a link of another site leads here', async () => {
      const window = await place.chromium.open();
      const { page, context, logIn } = window;
      await logIn(user, password);
      await page.getByRole('heading', { name: 'Repositories', level: 1 }).waitFor();
      const before = await context.cookies();
      const { port } = place.door;
      // To a browser it is another site than localhost.
      await page.goto(`https://127.0.0.1:${port}/ui/connect`);
      await page.evaluate(`location.href = 'https://localhost:${port}/ui/r/team/app'`);
      await page.waitForURL('/ui/r/team/app');
      assert.deepEqual(await context.cookies(), before);
      await window.close();
    });
  },
);
