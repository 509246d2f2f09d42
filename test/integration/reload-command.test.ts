import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { tidegate } from '../support/processes.ts';
import { freePort } from '../support/redis.ts';

describe('tidegate reload', { timeout: 240_000 }, () => {
  let dir: string;
  let server: Server;
  let port: number;
  let answer: { status: number; body: string };
  const asked: string[] = [];
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    server = createServer((req: IncomingMessage, res) => {
      asked.push(`${req.method} ${req.url} ${req.headers.host} ${req.headers.origin}`);
      res.writeHead(answer.status, { 'Content-Type': 'application/json' }).end(answer.body);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    ({ port } = server.address() as AddressInfo);
  });
  after(async () => {
    server.close();
    server.closeAllConnections();
    await rm(dir, { recursive: true, force: true });
  });
  const reload = (...settings: string[]) =>
    tidegate(['reload', ...settings.flatMap((setting) => ['--set', setting])], { cwd: dir });

  test('says what has changed, and what has to wait', async () => {
    answer = {
      status: 200,
      body: JSON.stringify({ ok: true, changed: ['tls.cert', 'tls.key'], needRestart: ['workers'] }),
    };
    const { code, stdout } = await reload(`admin.port=${port}`);
    assert.equal(stdout, 'Reloaded: tls.cert, tls.key.\nUnchanged until the next start: workers.\n');
    assert.equal(code, 0);
    assert.deepEqual(asked, [`POST /reload 127.0.0.1:${port} undefined`]);
    answer = { status: 200, body: JSON.stringify({ ok: true, changed: [], needRestart: [] }) };
    assert.equal(
      (await reload(`admin.port=${port}`)).stdout,
      'Reloaded; what the files say was already in effect.\n',
    );
  });

  test('says why it was refused, exit code 1', async () => {
    answer = { status: 422, body: JSON.stringify({ ok: false, sentence: 'server.key is damaged.' }) };
    const { code, stdout, stderr } = await reload(`admin.port=${port}`);
    assert.equal(stderr, 'Refused: the previous configuration stays in effect. server.key is damaged.\n');
    assert.deepEqual([code, stdout], [1, '']);
  });

  test('a configuration that is not valid is refused before anybody is asked', async () => {
    asked.length = 0;
    await writeFile(path.join(dir, 'bad.yml'), `admin: { port: ${port} }\nauth: { relam: x }\n`);
    const { code, stderr } = await tidegate(['reload', '--config', 'bad.yml'], { cwd: dir });
    assert.match(stderr, /^bad\.yml:2: auth\.relam: .*\n$/);
    assert.equal(code, 1);
    assert.deepEqual(asked, []);
  });

  test('one sentence for each way in which nobody can be asked, exit code 1', async () => {
    const nobody = await freePort();
    answer = { status: 404, body: 'Not found' };
    const cases: [setting: string, sentence: RegExp][] = [
      [`admin.port=${nobody}`, /cannot be reached at http:\/\/127\.0\.0\.1:\d+ \(.*ECONNREFUSED.*SIGHUP/],
      ['admin.port=', /admin\.port is null.*SIGHUP/],
      ['admin.port=0', /admin\.port is 0.*SIGHUP/],
      [`admin.port=${port}`, /cannot be reached .*it answered 404/],
    ];
    for (const [setting, sentence] of cases) {
      const { code, stderr } = await reload(setting);
      assert.match(stderr, sentence);
      assert.match(stderr, /^[^\n]+\n$/);
      assert.equal(code, 1);
    }
    for (const body of ['<html>', '[]', '{"ok":true}', '{"ok":false}', 'null']) {
      answer = { status: 200, body };
      const { code, stderr } = await reload(`admin.port=${port}`);
      assert.match(stderr, /^Another program answered.*\n$/, body);
      assert.equal(code, 1);
    }
  });
});
