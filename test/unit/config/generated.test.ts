import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { formatJsonSchema } from '../../../src/config/docs/json-schema.ts';
import { configKeys } from '../../../src/config/schema/key-list.ts';
import { loadConfig } from '../../../src/config/load/load.ts';
import { formatReference } from '../../../src/config/docs/reference.ts';

const folder = fileURLToPath(new URL('../../../../config/', import.meta.url));

describe('generated files', () => {
  it('config/schema.json is fresh', async () => {
    assert.equal(await readFile(path.join(folder, 'schema.json'), 'utf8'), formatJsonSchema());
  });

  it('config/REFERENCE.md is fresh and has every key', async () => {
    const reference = await readFile(path.join(folder, 'REFERENCE.md'), 'utf8');
    assert.equal(reference, formatReference());
    for (const key of configKeys.keys()) assert.ok(reference.includes(`| \`${key}\` |`), key);
  });

  it('every key has a description of whole sentences, and a default that is accepted', async () => {
    for (const { path: key, description } of configKeys.values())
      assert.match(description, /^[^a-z].*\.$/, key);
    await loadConfig({ configPath: undefined, flavor: undefined, set: [], env: {}, cwd: '/' });
  });
});

describe('examples', () => {
  const load = (file: string, flavor?: string) =>
    loadConfig({ configPath: path.join(folder, file), flavor, set: [], env: {}, cwd: '/' });

  it('single-host.yml is accepted, starts with the line for editors, and lies above config/', async () => {
    const { baseDir, config } = await load('single-host.yml');
    assert.equal(baseDir, path.dirname(path.dirname(path.join(folder, 'x'))));
    assert.equal(config.listen.port, 443);
  });

  it('mirrors.yml is accepted, with what a registry in proxy mode has by default', async () => {
    const { config } = await load('mirrors.yml');
    const hub = config.routes[0] ?? assert.fail();
    const mirror = await readFile(path.join(folder, '../deploy/registry/mirror.yml'), 'utf8');
    assert.ok(mirror.includes(`rootdirectory: ${hub.upstream.storage}\n`));
    assert.ok(mirror.includes(`addr: ${new URL(hub.upstream.url).host}\n`));
  });

  for (const flavor of [undefined, 'common', 'dev', 'prod', 'staging']) {
    it(`flavors.yml is accepted with flavor ${flavor ?? 'dev by default'}`, async () => {
      assert.equal((await load('flavors.yml', flavor)).flavor, flavor ?? 'dev');
    });
  }

  it('all start with the line that editors look for', async () => {
    for (const file of ['single-host.yml', 'mirrors.yml', 'flavors.yml']) {
      const text = await readFile(path.join(folder, file), 'utf8');
      assert.ok(text.startsWith('# yaml-language-server: $schema=schema.json\n'), file);
    }
  });
});
