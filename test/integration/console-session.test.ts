import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createBrowser, sessionCookie, type Browser } from '../support/browser.ts';
import { htpasswdLine, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { addTokens, tokenCommand, tokenFile } from '../support/machine-tokens.ts';
import { anonymous, exchange, type RawClient } from '../support/raw-client.ts';
import { until } from '../support/redis.ts';
import { replaceConfig, replaceFile, sighup } from '../support/reload.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';
import { connectToWorker, workerPids } from '../support/workers.ts';

/** Another password of the same user, of cost 4. */
const otherLine = `${user}:$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2\n`;
const signedIn = 200;
const mustLogIn = 303;

describe('a session of the console', { timeout: 480_000 }, () => {
  let upstream: ScriptedUpstream;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
  });
  after(() => upstream.close());

  const start = (...set: string[]): Promise<FrontDoor> =>
    startFrontDoor({ upstreamUrl: upstream.url, set: ['console.enabled=true', ...set] });

  test('is good in each worker, and ends in each with the password', async () => {
    const frontDoor = await start('workers=2', 'admin.port=0');
    try {
      const browser = createBrowser(frontDoor);
      await browser.logIn();
      const workers = await workerPids(frontDoor);
      assert.equal(workers.length, 2);
      const clients = await Promise.all(workers.map((pid) => connectToWorker(frontDoor, pid)));
      for (const client of clients) assert.equal(await statusOver(client, browser), signedIn);
      await replaceFile(frontDoor.htpasswdPath, otherLine);
      for (const client of clients)
        await until('the session has ended', async () => (await statusOver(client, browser)) === mustLogIn);
      // The old password again is the old line: the session is what it was proven by.
      await replaceFile(frontDoor.htpasswdPath, htpasswdLine);
      for (const client of clients) {
        await until('the line is back', async () => (await statusOver(client, browser)) === signedIn);
        client.leave();
      }
      await replaceFile(frontDoor.htpasswdPath, '');
      await until('the user is gone', async () => (await browser.get('/ui/')).status === mustLogIn);
    } finally {
      await frontDoor.stop();
    }
  });

  test('of a machine token ends when that is revoked, and when it expires', async () => {
    const frontDoor = await start(tokenFile);
    try {
      const logins = await addTokens(frontDoor, { ci: {}, brief: { expiresMs: Date.now() + 60_000 } });
      const entered = await createBrowser(frontDoor).logIn(...logins.brief);
      const [, seconds = ''] = /Max-Age=(\d+);/.exec(String(entered.headers)) ?? [];
      assert.ok(Number(seconds) <= 60, seconds);
      const browser = createBrowser(frontDoor);
      await browser.logIn(...logins.ci);
      assert.match((await browser.get('/ui/')).body.toString(), /<\/span>ci<\/a>/);
      await tokenCommand(frontDoor, 'revoke', 'ci');
      await until('the session has ended', async () => (await browser.get('/ui/')).status === mustLogIn);
    } finally {
      await frontDoor.stop();
    }
  });

  test('ends in time, which a reload can make shorter', async () => {
    const config = (ttl: string) => `console: { enabled: true, sessionTtl: ${ttl} }\n`;
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, config: config('8h') });
    try {
      const browser = createBrowser(frontDoor);
      await browser.logIn();
      assert.equal((await browser.get('/ui/')).status, signedIn);
      await replaceConfig(frontDoor, config('1s'));
      const { changed } = await sighup(frontDoor);
      assert.deepEqual(changed, ['console.sessionTtl']);
      await until('the session has ended', async () => (await browser.get('/ui/')).status === mustLogIn);
    } finally {
      await frontDoor.stop();
    }
  });

  test('outlives a restart where auth.tokenKeys names the secret, and ends with it elsewhere', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    const key = path.join(dir, 'token.key');
    await writeFile(key, 'k'.repeat(48), { mode: 0o600 });
    const [first, kept, other] = await Promise.all([
      start(`auth.tokenKeys=${key}`),
      start(`auth.tokenKeys=${key}`),
      start(),
    ]);
    const browser = createBrowser(first);
    await browser.logIn();
    for (const [door, status] of [
      [first, signedIn],
      [kept, signedIn],
      [other, mustLogIn],
    ] as const) {
      const later = createBrowser(door);
      later.cookies.set(sessionCookie, browser.cookies.get(sessionCookie) ?? '');
      assert.equal((await later.get('/ui/')).status, status);
    }
    await Promise.all([first, kept, other].map((door) => door.stop()));
    await rm(dir, { recursive: true });
  });
});

test('pages name the registry as clients must: a single word with its port', async () => {
  const upstream = await startUpstream({ script: answerOk });
  const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
  try {
    for (const [host, registry] of [
      ['myhost', 'myhost:443'],
      ['myhost:8443', 'myhost:8443'],
      ['registry.example.com', 'registry.example.com'],
      ['localhost', 'localhost'],
      ['[::1]', '[::1]'],
    ] as const) {
      const { body } = await exchange(frontDoor, head('GET /ui/connect HTTP/1.1', `Host: ${host}`));
      assert.ok(body.includes(`docker login ${registry}<`), host);
      assert.ok(body.includes(`/etc/docker/certs.d/${registry}/ca.crt`), host);
    }
  } finally {
    await frontDoor.stop();
    await upstream.close();
  }
});

/** The status of the first page, on this connection. */
async function statusOver(client: RawClient, browser: Browser): Promise<number> {
  const cookie = `Cookie: ${sessionCookie}=${browser.cookies.get(sessionCookie) ?? ''}`;
  client.send(anonymous('GET /ui/', cookie));
  return (await client.response()).status;
}
