import assert from 'node:assert/strict';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { runDoctor } from '../support/doctor.ts';
import { freePort } from '../support/redis.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';
import { unlessInstalled } from '../support/requirement.ts';

describe(
  'tidegate doctor with routes',
  { timeout: 360_000, skip: unlessInstalled('docker-registry') },
  () => {
    let folder = '';
    let own: Registry;
    let mirror: Registry;
    let silent: ScriptedUpstream;
    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'tidegate-doctor-'));
      own = await startRegistry();
      mirror = await startRegistry({ proxy: { remoteurl: own.url } });
      silent = await startUpstream({ script: async () => {} });
    });
    after(async () => {
      await silent.close();
      for (const each of [mirror, own]) await each.stop();
      await rm(folder, { recursive: true });
    });
    const examine = async (routes: object[]) => {
      const config = { upstream: { url: own.url }, admin: { port: null }, routes };
      await writeFile(path.join(folder, 'x.yml'), JSON.stringify(config));
      const { find, findings } = await runDoctor(['--config', 'x.yml'], { login: false, cwd: folder });
      const ofRoutes = findings.filter(({ check }) => check.startsWith('route'));
      return { find, states: ofRoutes.map(({ check, state }) => `${check}: ${state}`) };
    };
    const route = (name: string, upstream: object, more: object = {}) => ({
      name,
      repositories: [`${name}/**`],
      upstream,
      ...more,
    });

    test('each registry is checked, and its fixes name the keys of its route', async () => {
      await symlink(own.storageDir, path.join(folder, 'linked'));
      const gone = `http://127.0.0.1:${await freePort()}`;
      const { find, states } = await examine([
        route('hub', { url: mirror.url, storage: mirror.storageDir }, { readOnly: true }),
        route('team', { url: own.url.replace('127.0.0.1', 'localhost'), storage: 'linked' }),
        route('gone', { url: gone }),
        route('silent', { url: silent.url }),
      ]);
      assert.deepEqual(
        states.filter((each) => !each.includes('.space')),
        [
          'route.hub.answer: ok',
          'route.hub.mirror: ok',
          'route.hub.exposed: ok',
          'route.hub.readable: warning',
          'route.team.answer: ok',
          'route.team.delete: ok',
          'route.team.exposed: ok',
          'route.team.readable: warning',
          'route.gone.answer: broken',
          'route.gone.delete: skipped',
          'route.gone.exposed: skipped',
          'route.silent.answer: broken',
          'route.silent.delete: skipped',
          'route.silent.exposed: ok',
          'routes.apart: warning',
        ],
      );
      assert.match(find('route.hub.mirror').what, /is in proxy mode/);
      assert.match(find('route.gone.answer').fix ?? '', /routes: gone: upstream\.url/);
      assert.match(find('route.hub.readable').fix ?? '', /^routes: hub: upstream\.storage: /);
      assert.match(
        find('routes.apart').what,
        /^upstream\.url and routes: team: upstream\.url lead to one place/,
      );
    });

    test('no registry keeps anything of the question whether it is a mirror', async () => {
      const { find } = await examine([
        route('team', { url: own.url.replace('127.0.0.1', 'localhost') }, { readOnly: true }),
      ]);
      assert.match(find('route.team.mirror').what, /takes pushes, so it is not in proxy mode/);
      const catalog = (await (await fetch(`${own.url}/v2/_catalog`)).json()) as { repositories: string[] };
      assert.deepEqual(catalog.repositories, []);
    });

    test('without routes nothing is said of them', async () => {
      assert.deepEqual((await examine([])).states, []);
    });
  },
);
