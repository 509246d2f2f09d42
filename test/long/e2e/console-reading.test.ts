import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Page } from 'playwright-core';
import { follow, unlessChromium } from '../../support/chromium.ts';
import { openConsole, recorded, type ConsolePlace } from '../../support/console/console-place.ts';
import { pushPlausible } from '../../support/console/plausible-content.ts';
import { createPusher } from '../../support/console-images.ts';
import { password, user } from '../../support/front-door.ts';
import { until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

/** The first of plausible repositories, beside some 60 others. */
const shop = '/ui/r/shop/web';

describe(
  'reading in the console',
  { timeout: 300_000, skip: unlessInstalled('docker-registry') || unlessChromium() },
  () => {
    let place: ConsolePlace;
    before(async () => {
      place = await openConsole({ content: pushMuch, set: [...recorded, 'workers=2'] });
      await place.untilListed();
    });
    after(() => place.stop());

    it('searches while one types, and sorts, and turns pages', () =>
      place.visit(async ({ page }) => {
        await page.goto('/ui/');
        await page.getByRole('searchbox').pressSequentially('paym', { delay: 20 });
        await page
          .getByRole('status')
          .getByText(/^1 repository/)
          .first()
          .waitFor();
        assert.deepEqual(await names(page), ['shop/payments']);
        assert.match(page.url(), /\?q=paym$/);
        // What a screen reader is told.
        assert.match(await page.locator('body > .sr[role=status]').innerText(), /^1 repository/);
        await until('the sizes are read', async () => {
          await page.goto('/ui/?sort=-size');
          return (await names(page))[0] === 'tools/ci-runner';
        });
        await page.goto('/ui/');
        await follow(page.getByRole('link', { name: 'Size' }));
        assert.equal((await names(page))[0], 'tools/ci-runner');
        assert.equal(
          await page.getByRole('columnheader', { name: 'Size' }).getAttribute('aria-sort'),
          'descending',
        );
        await follow(page.getByRole('link', { name: 'Size' }));
        assert.match((await names(page))[0] ?? '', /^small\//);
        await follow(page.getByRole('link', { name: 'Name' }));
        const first = await names(page);
        await follow(page.getByRole('link', { name: 'Next' }));
        const second = await names(page);
        assert.deepEqual([...first, ...second], [...first, ...second].toSorted());
        assert.ok(first.length === 50 && second.length > 5, `${first.length}, ${second.length}`);
        await follow(page.getByRole('link', { name: 'Previous' }));
        assert.deepEqual(await names(page), first);
      }));

    it('shows tags with their twins, platforms of an image, and what was attached to it', () =>
      place.visit(async ({ page }) => {
        await page.goto('/ui/?q=shop%2Fweb');
        await follow(page.getByRole('link', { name: 'shop/web' }));
        const latest = page.getByRole('row', { name: /^Pick latest|latest/ }).last();
        assert.match(
          await latest.innerText(),
          /same image as 2, 2\.4, 2\.4\.1[\s\S]*linux\/amd64, linux\/arm64/,
        );
        await follow(page.getByRole('link', { name: 'latest', exact: true }));
        const text = () => page.locator('main').innerText();
        for (const wanted of [
          /SPDX|SBOM/,
          /Signature/,
          /RUN npm ci --omit=dev/,
          /8080\/tcp/,
          /skopeo copy --all/,
        ])
          assert.match(await text(), wanted);
        await follow(page.getByRole('link', { name: /^linux\/arm64/ }));
        assert.match(await text(), /40\.6 MB/);
        await follow(page.getByRole('link', { name: 'Raw manifest', exact: true }));
        assert.match(await text(), /"org\.opencontainers\.image\.version": "2\.4\.1"/);
      }));

    it('compares two tags that were ticked', () =>
      place.visit(async ({ page }) => {
        await page.goto(shop);
        for (const tag of ['2.3.7', '2.4.1']) await page.locator(`input[value="${tag}"]`).check();
        await follow(page.getByRole('button', { name: 'Compare' }));
        const text = await page.locator('main').innerText();
        assert.match(text, /Only in 2\.3\.7\n94|Only in 2\.3\.7\s+98\.2 MB/);
        assert.match(text, /COPY dist \.\/dist/);
        assert.match(text, /SHOP_VERSION\s+2\.3\.7\s+2\.4\.1/);
      }));

    it('speaks Chinese to those who ask for it, and to those who choose it from then on', async () => {
      await place.visit(
        async ({ page }) => {
          await page.goto('/ui/');
          assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN');
          await page.getByRole('heading', { name: '仓库', level: 1 }).waitFor();
        },
        { language: 'zh-CN' },
      );
      await place.visit(async ({ page }) => {
        await page.goto(`${shop}?q=2.4`);
        await follow(page.getByRole('link', { name: '简体中文' }));
        assert.match(page.url(), /\?q=2\.4&lang=zh-CN$/);
        await page.goto('/ui/connect');
        assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN');
        await follow(page.getByRole('link', { name: 'English' }));
        assert.equal(await page.getAttribute('html', 'lang'), 'en');
      });
    });

    it('works without JavaScript', () =>
      place.visit(
        async ({ page }) => {
          await page.getByRole('searchbox').fill('search');
          await follow(page.getByRole('button', { name: 'Search' }));
          assert.deepEqual(await names(page), ['shop/search']);
          await follow(page.getByRole('link', { name: 'shop/search' }));
          assert.equal(await page.getByRole('button', { name: /^Copy/ }).count(), 0);
          await follow(page.getByRole('link', { name: '0.9.1' }));
          await follow(page.getByRole('link', { name: 'Delete this tag' }));
          await follow(page.getByRole('link', { name: 'Cancel' }));
          await page.getByRole('heading', { name: /^0\.9\.1/ }).waitFor();
          await follow(page.getByRole('link', { name: '简体中文' }));
          assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN');
          await follow(page.getByRole('button', { name: '退出' }));
          assert.match(page.url(), /\/ui\/login\?done=loggedOut$/);
        },
        { script: false },
      ));

    it('is used by keyboard alone', () =>
      place.visit(
        async ({ page }) => {
          await page.goto('/ui/');
          const focused = () =>
            page.evaluate<string>('document.activeElement.innerText.trim() || document.activeElement.id');
          const press = async (key: string, times = 1) => {
            for (let i = 0; i < times; i++) await page.keyboard.press(key);
          };
          await press('Tab');
          assert.equal(await focused(), 'Skip to the content');
          assert.ok(((await page.locator('.skip').boundingBox())?.y ?? -1) >= 0, 'it is seen');
          await press('Enter');
          assert.equal(await page.evaluate('document.activeElement.id'), 'main');
          await press('Tab');
          assert.equal(await focused(), 'f-name');
          await page.keyboard.type(user);
          await press('Tab');
          await page.keyboard.type(password);
          await press('Enter');
          await page.getByRole('heading', { name: 'Repositories', level: 1 }).waitFor();
          const order: string[] = [];
          for (let i = 0; i < 13; i++) {
            await press('Tab');
            order.push(await focused());
            const outline = await page.evaluate<string>(
              'getComputedStyle(document.activeElement).outlineStyle',
            );
            assert.equal(outline, 'solid', order.at(-1));
          }
          assert.deepEqual(
            order.map((text) => text.replace(/^Tidegate[\s\S]*/, 'Tidegate').replace(/^Account:\s*/, '')),
            [
              ...['Skip to the content', 'Tidegate', 'Repositories', 'Connect', user, 'Log out'],
              ...['q', 'Search', 'Name ↑', 'Size', 'Last push', 'Last pull', 'base/node'],
            ],
          );
          await press('Enter');
          await page.getByRole('heading', { name: 'base/node', level: 1 }).waitFor();
        },
        { as: null },
      ));
  },
);

async function pushMuch(url: string): Promise<void> {
  await pushPlausible(url);
  for (let i = 0; i < 60; i++) await createPusher(url, `small/app-${i}`).image('1', { layers: 1 });
}

/** The first column. */
const names = (page: Page): Promise<string[]> => page.locator('tbody th a').allInnerTexts();
