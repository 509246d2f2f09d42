import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { unlessChromium } from '../../support/chromium.ts';
import { openConsole, type ConsolePlace } from '../../support/console/console-place.ts';
import { createPusher } from '../../support/console-images.ts';
import { password } from '../../support/front-door.ts';
import { run } from '../../support/processes.ts';
import { unlessInstalled } from '../../support/requirement.ts';

/** In a home of its own: what the page says about /etc is done as it says for those who are not root, and without sudo. */
describe(
  'the page that tells how to connect, followed to the letter',
  {
    timeout: 120_000,
    skip: unlessInstalled('docker-registry', 'skopeo', 'curl', 'openssl') || unlessChromium(),
  },
  () => {
    let place: ConsolePlace;
    let dir: string;
    before(async () => {
      dir = await mkdtemp(path.join(tmpdir(), 'tidegate-trust-'));
      place = await openConsole({ content: (url) => createPusher(url, 'team/app').image('1.0') });
    });
    after(async () => {
      await place.stop();
      await rm(dir, { recursive: true });
    });

    it('makes curl and Skopeo trust the registry, and log in, and pull', () =>
      place.visit(async ({ page }) => {
        await page.goto('/ui/connect');
        const commandOf = (selector: string) => page.locator(selector).first().innerText();
        const shell = (command: string, input = '') =>
          run('sh', ['-c', command.replaceAll('sudo ', '').replaceAll('/etc/', `${dir}/.config/`)], {
            ...{ cwd: dir, input },
            env: { HOME: dir, XDG_RUNTIME_DIR: dir, REGISTRY_AUTH_FILE: undefined, NO_PROXY: '*' },
          });

        const curl = await commandOf('#curl pre');
        assert.notEqual((await shell(curl)).code, 0, 'nothing is trusted yet');
        await must(shell(await commandOf('.command:has-text("curl -k") pre')));
        const shown = await must(shell(await commandOf('.command:has-text("OpenSSL") pre')));
        const fingerprint = await page.locator('.copyable code').innerText();
        assert.match(shown, new RegExp(`=${fingerprint}\\n$`));
        await must(shell(curl));

        await must(shell(await commandOf('#podman pre')));
        const login = await commandOf('.command:has-text("skopeo login") pre');
        await must(shell(`${login} --password-stdin`, `${password}\n`));
        await page.goto('/ui/r/team/app/-/i/1.0');
        await must(shell(await commandOf('.command:has-text("skopeo copy") pre')));
      }));

    it('gives the file to those who click, without a login', () =>
      place.visit(
        async ({ page }) => {
          await page.goto('/ui/connect');
          const [download] = await Promise.all([
            page.waitForEvent('download'),
            page.getByRole('link', { name: 'Download ca.crt' }).click(),
          ]);
          assert.equal(download.suggestedFilename(), 'ca.crt');
          const file = path.join(dir, 'clicked.crt');
          await download.saveAs(file);
          await writeFile(path.join(dir, 'own.crt'), place.door.ca);
          await must(run('cmp', [file, path.join(dir, 'own.crt')]));
        },
        { as: null },
      ));
  },
);

/** What it printed, once it has succeeded. */
async function must(running: ReturnType<typeof run>): Promise<string> {
  const { code, stdout, stderr } = await running;
  assert.equal(code, 0, stderr);
  return stdout;
}
