import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { follow, unlessChromium } from '../../support/chromium.ts';
import { cleanCommand, startCleaner, type Cleaner } from '../../support/cleaner.ts';
import { openConsole, type ConsolePlace } from '../../support/console/console-place.ts';
import { checkPage } from '../../support/console/page-checks.ts';
import { createPusher } from '../../support/console-images.ts';
import { until } from '../../support/redis.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

/** The record is off: what pages say without it is tried as well. */
describe(
  'the clean-up in the console, and a console without a record',
  { timeout: 300_000, skip: unlessInstalled('docker-registry') || unlessChromium() },
  () => {
    let dir: string;
    let registry: Registry;
    let cleaner: Cleaner;
    let place: ConsolePlace;
    before(async () => {
      dir = await mkdtemp(path.join(tmpdir(), 'tidegate-clean-'));
      registry = await startRegistry();
      const push = createPusher(registry.url, 'ci/app');
      for (const tag of ['1', '2', '3']) await push.image(tag, { layers: 1 });
      const config = await push.blob(Buffer.from('{}'), 'application/vnd.oci.image.config.v1+json');
      for (const tag of ['twin-a', 'twin-b'])
        await createPusher(registry.url, 'ci/app').manifest(tag, { config, layers: [] });
      const settings = JSON.stringify({
        upstream: { storage: registry.storageDir },
        clean: {
          ...{ socket: path.join(dir, 'clean.sock'), grace: '0', untagged: '0' },
          rules: [{ repositories: ['ci/**'], tags: ['1', '2', '3'], keep: { newest: 1 } }],
        },
      });
      await writeFile(path.join(dir, 'tidegate.yml'), settings);
      cleaner = await startCleaner(['--config', path.join(dir, 'tidegate.yml')], dir);
      place = await openConsole({ registry, config: settings, set: ['state.usage=false'] });
      await cleaner.logged(({ msg }) => msg === 'a front door is connected');
    });
    after(async () => {
      await place.stop();
      await cleaner.stop();
      await registry.stop();
      await rm(dir, { recursive: true });
    });

    it('shows what a run would take, and brings back what one took', () =>
      place.visit(async ({ page }) => {
        await follow(page.getByRole('link', { name: 'Clean-up' }));
        const text = () => page.locator('main').innerText();
        assert.match(await text(), /Tags that would go[\s\S]*ci\/app:[12]/);
        assert.match(await text(), /No run has taken anything yet/);
        await checkPage(page);
        const ran = await cleanCommand(
          ['clean', 'run', '--yes', '--config', path.join(dir, 'tidegate.yml')],
          dir,
        );
        assert.equal(ran.code, 0, ran.stderr);
        const found = await Promise.all(['1', '2', '3'].map(hasTag));
        assert.equal(found.filter(Boolean).length, 1);
        await until('the run has ended', async () => {
          await page.goto('/ui/clean');
          return (await page.getByRole('button', { name: /^Undo run/ }).count()) === 1;
        });
        // Not the plan of before, though it is only seconds old.
        assert.doesNotMatch(await text(), /Tags that would go/);
        await checkPage(page);
        await follow(page.getByRole('button', { name: /^Undo run/ }));
        await page.getByText(/Everything that run .* took is back/).waitFor();
        for (const tag of ['1', '2', '3']) await until(`${tag} is back`, () => hasTag(tag));
        assert.equal(await page.getByRole('button', { name: /^Undo run/ }).count(), 0);
        assert.match(await text(), /undone/);
      }));

    it('brings back a tag whose image stayed: that run took no bytes', () =>
      place.visit(async ({ page }) => {
        const config = ['--config', path.join(dir, 'tidegate.yml')];
        const removed = await cleanCommand(['tag', 'remove', 'ci/app:twin-a', ...config], dir);
        assert.equal(removed.code, 0, removed.stderr);
        assert.equal(await hasTag('twin-a'), false);
        const undo = page.getByRole('button', { name: /^Undo run/ });
        await until('the run is listed', async () => {
          await page.goto('/ui/clean');
          return (await undo.count()) === 1;
        });
        await follow(undo);
        await page.getByText(/Everything that run .* took is back/).waitFor();
        await until('the tag is back', () => hasTag('twin-a'));
      }));

    it('names repositories without a record, and knows the twins of few tags', () =>
      place.visit(async ({ page }) => {
        assert.deepEqual(await page.locator('tbody th a').allInnerTexts(), ['ci/app']);
        assert.equal(await page.getByRole('columnheader', { name: 'Size' }).count(), 0);
        await page.goto('/ui/r/ci/app/-/delete?tag=twin-a');
        assert.match(await page.locator('main').innerText(), /The same image stays as twin-b\./);
        await page.goto('/ui/r/ci/app/-/i/twin-a');
        assert.match(await page.locator('.facts').first().innerText(), /Other tags of it\s+–\s*not known/);
      }));

    const hasTag = async (tag: string): Promise<boolean> => {
      const headers = { accept: 'application/vnd.oci.image.manifest.v1+json' };
      const address = `${registry.url}/v2/ci/app/manifests/${tag}`;
      return (await fetch(address, { method: 'HEAD', headers })).ok;
    };
  },
);
