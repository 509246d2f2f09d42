import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { root, tidegate } from '../support/processes.ts';
import { replaceConfig, sighup } from '../support/reload.ts';
import { clientHost, exchange } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

/** bcrypt of "x" at cost 4. */
const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const users = ['alice', 'bob', 'carol', 'dora', 'guest', 'ci-backend', 'ci-frontend', 'mirror-sync'];
const htpasswd = users.map((user) => `${user}:${hash}\n`).join('');
const folder = `${root}config/policies/`;

/** Who, what, and the answer: 200 is upstream's. */
const requests: Readonly<Record<string, readonly (readonly [string | null, string, number])[]>> = {
  'single-team': [
    ['bob', 'PUT /v2/app/manifests/1', 200],
    ['bob', 'DELETE /v2/app/manifests/1', 403],
    ['alice', 'DELETE /v2/app/manifests/1', 200],
    ['guest', 'GET /v2/app/manifests/1', 200],
    ['guest', 'POST /v2/app/blobs/uploads/', 403],
    [null, 'GET /v2/app/manifests/1', 401],
  ],
  'ci-pushes-people-pull': [
    ['ci-backend', 'POST /v2/backend/api/blobs/uploads/', 200],
    ['ci-backend', 'POST /v2/frontend/shop/blobs/uploads/', 403],
    ['dora', 'GET /v2/frontend/shop/tags/list', 200],
    ['dora', 'PUT /v2/frontend/shop/manifests/1', 403],
  ],
  'public-mirror': [
    [null, 'GET /v2/mirror/debian/manifests/12', 200],
    [null, 'PUT /v2/mirror/debian/manifests/12', 401],
    [null, 'GET /v2/private/app/manifests/1', 401],
    ['mirror-sync', 'PUT /v2/mirror/debian/manifests/12', 200],
    ['mirror-sync', 'GET /v2/private/app/manifests/1', 404],
    ['bob', 'GET /v2/mirror/debian/manifests/12', 200],
  ],
  'per-user-space': [
    ['dora', 'PUT /v2/home/dora/app/manifests/1', 200],
    ['dora', 'GET /v2/home/bob/app/manifests/1', 404],
    ['dora', 'PUT /v2/shared/app/manifests/1', 403],
    ['bob', 'PUT /v2/shared/app/manifests/1', 200],
  ],
  'locked-release-tags': [
    ['bob', 'PUT /v2/app/manifests/latest', 200],
    ['guest', 'GET /v2/app/manifests/v1', 200],
    ['guest', 'PUT /v2/app/manifests/v1', 403],
    ['bob', 'DELETE /v2/app/manifests/main', 200],
  ],
};

let dir = '';
let upstream: ScriptedUpstream;
let frontDoor: FrontDoor;
before(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'tidegate-policies-'));
  await writeFile(path.join(dir, 'htpasswd'), htpasswd);
  upstream = await startUpstream({ script: answerOk });
  frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, htpasswd, config: '# replaced by each\n' });
});
after(async () => {
  await frontDoor.stop();
  await upstream.close();
  await rm(dir, { recursive: true });
});

test('each policy has a table and requests, and is published', async () => {
  const files = readdirSync(folder).sort();
  assert.deepEqual(
    files,
    Object.keys(requests)
      .flatMap((name) => [`${name}.test.yml`, `${name}.yml`])
      .sort(),
  );
  const { files: published } = JSON.parse(await readFile(`${root}package.json`, 'utf8')) as {
    files: string[];
  };
  assert.ok(published.includes('config/policies/*.yml'));
});

for (const [name, rows] of Object.entries(requests)) {
  describe(`config/policies/${name}.yml`, { timeout: 240_000 }, () => {
    const config = ['--config', `${folder}${name}.yml`];
    test('is valid, without a warning, and begins with the line for editors', async () => {
      const { code, stdout, stderr } = await tidegate(
        ['config', 'check', ...config, '--set', `auth.htpasswd=${dir}/htpasswd`],
        {},
      );
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(stdout, /^ok\n/);
      const text = await readFile(`${folder}${name}.yml`, 'utf8');
      assert.match(text, /^# yaml-language-server: \$schema=\.\.\/schema\.json\n/);
    });

    test('meets its table', async () => {
      const { code, stdout } = await tidegate(['policy', 'test', `${folder}${name}.test.yml`, ...config]);
      assert.equal(code, 0, stdout);
      assert.match(stdout, /^ok: (\d{2}) of \1 expectations are met\n$/);
    });

    test('is served by', async () => {
      await replaceConfig(frontDoor, await readFile(`${folder}${name}.yml`, 'utf8'));
      assert.equal((await sighup(frontDoor)).msg, 'reloaded');
      for (const [who, request, status] of rows) {
        const credentials =
          who === null ? [] : [`Authorization: Basic ${Buffer.from(`${who}:x`).toString('base64')}`];
        const length = request.startsWith('GET') ? [] : ['Content-Length: 0'];
        const response = await exchange(
          frontDoor,
          head(`${request} HTTP/1.1`, `Host: ${clientHost}`, ...credentials, ...length),
        );
        assert.equal(response.status, status, `${who ?? 'nobody'}: ${request}`);
      }
    });
  });
}
