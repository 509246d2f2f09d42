import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createBrowser } from '../support/browser.ts';
import { basic, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { anonymous, clientHost, errorCode, exchange } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

describe('the login of the console', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: ['console.enabled=true'] });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  test('right name and password begin a session, which is a cookie that no script and no other site sees', async () => {
    const browser = createBrowser(frontDoor);
    const asked = await browser.get('/ui/');
    assert.equal(asked.status, 303);
    assert.deepEqual(values(asked, 'location'), ['/ui/login?to=%2Fui%2F']);
    const before = await browser.get('/ui/login');
    assert.equal(before.status, 200);
    const anonymousId = browser.cookies.get('__Host-tidegate');
    const entered = await browser.logIn();
    assert.equal(entered.status, 303);
    assert.deepEqual(values(entered, 'location'), ['/ui/']);
    const [cookie = ''] = values(entered, 'set-cookie');
    assert.match(
      cookie,
      /^__Host-tidegate=[\w-]{100,400}; Path=\/; Max-Age=28800; Secure; HttpOnly; SameSite=Strict$/,
    );
    assert.notEqual(browser.cookies.get('__Host-tidegate'), anonymousId);
    const home = await browser.get('/ui/');
    assert.equal(home.status, 200);
    assert.match(home.body.toString(), new RegExp(user));
    const csrf = await browser.formToken('/ui/');
    const left = await browser.post('/ui/logout', { csrf });
    assert.equal(left.status, 303);
    assert.equal((await browser.get('/ui/')).status, 303);
  });

  test('the cookie counts at the console alone, and goes to no upstream', async () => {
    const browser = createBrowser(frontDoor);
    await browser.logIn();
    const cookie = `__Host-tidegate=${browser.cookies.get('__Host-tidegate') ?? ''}`;
    const response = await exchange(frontDoor, anonymous('GET /v2/_catalog', `Cookie: ${cookie}`));
    assert.equal(response.status, 401);
    assert.equal(errorCode(response), 'UNAUTHORIZED');
    const lines = [`Host: ${clientHost}`, `Authorization: ${basic}`];
    for (const [sent, forwarded] of [
      [cookie, []],
      [`a=1; ${cookie}; b=2`, ['a=1; b=2']],
      [`${cookie}; b=2`, ['b=2']],
      ['a=1;  b=2', ['a=1;  b=2']],
    ] as const) {
      await exchange(frontDoor, head('GET /v2/app/tags/list HTTP/1.1', ...lines, `Cookie: ${sent}`));
      const request = upstream.requests.at(-1);
      assert.ok(request);
      assert.deepEqual(values(request, 'cookie'), forwarded);
    }
  });

  test('a cookie counts by its exact name: hosts of the same domain can set others', async () => {
    const browser = createBrowser(frontDoor);
    await browser.logIn();
    const session = browser.cookies.get('__Host-tidegate') ?? '';
    for (const [cookie, status] of [
      [`__Host-tidegate=${session}`, 200],
      [`a=1;  __Host-tidegate=${session}`, 200],
      [`a=1;\t__Host-tidegate=${session}; b=2`, 200],
      // Browsers keep a name with the prefix for this host alone, but not one that only looks so once it was trimmed.
      [`\xa0__Host-tidegate=${session}`, 303],
      [`\x85__Host-tidegate=${session}`, 303],
      [`__host-tidegate=${session}`, 303],
      [`__Host-tidegate =${session}`, 303],
      [`__Host-tidegate="${session}"`, 303],
      [`$Version=1; $Path=/; __Host-tidegate=${session}`, 200],
      [`\xa0__Host-tidegate=${'x'.repeat(100)}; __Host-tidegate=${session}`, 200],
      [`__Host-tidegate=${session}; __Host-tidegate=${session}`, 303],
    ] as const) {
      const response = await exchange(frontDoor, anonymous('GET /ui/', `Cookie: ${cookie}`));
      assert.equal(response.status, status, cookie);
    }
  });

  test('a link of another site ends no session', async () => {
    for (const site of ['cross-site', 'same-site']) {
      const browser = createBrowser(frontDoor);
      // Whoever follows it comes without the cookie, which must not be replaced.
      const led = await browser.get('/ui/login?to=%2Fui%2Fr%2Fapp', `Sec-Fetch-Site: ${site}`);
      assert.equal(led.status, 200);
      assert.deepEqual(values(led, 'set-cookie'), []);
      const again = '/ui/login?to=%2Fui%2Fr%2Fapp&again=1';
      assert.deepEqual(values(led, 'refresh'), [`0; url=${again}`]);
      const still = await browser.get(again, `Sec-Fetch-Site: ${site}`);
      assert.deepEqual([values(still, 'set-cookie'), values(still, 'refresh')], [[], []]);
      await browser.logIn();
      const known = await browser.get(again, 'Sec-Fetch-Site: same-origin');
      assert.deepEqual([known.status, ...values(known, 'location')], [303, '/ui/r/app']);
    }
    for (const site of ['none', 'same-origin']) {
      const typed = await createBrowser(frontDoor).get('/ui/login', `Sec-Fetch-Site: ${site}`);
      assert.deepEqual([values(typed, 'set-cookie').length, values(typed, 'refresh')], [1, []]);
    }
  });

  test('wrong ones count as they do at the registry, and lock out', async () => {
    const browser = createBrowser(frontDoor);
    for (let tries = 0; ; tries += 1) {
      const response = await browser.logIn('mallory', `wrong ${tries}`);
      if (response.status === 429) {
        assert.match(values(response, 'retry-after')[0] ?? '', /^[1-9]\d*$/);
        assert.match(values(response, 'content-type')[0] ?? '', /^text\/html/);
        break;
      }
      assert.equal(response.status, 403);
      assert.equal(browser.cookies.size, 1);
      assert.ok(tries < 100);
    }
    const line = await frontDoor.logged((entry) => entry['reason'] === 'wrong-credentials');
    assert.equal(line['route'], 'console');
    const basicOfMallory = Buffer.from('mallory:wrong').toString('base64');
    const door = await exchange(
      frontDoor,
      anonymous('GET /v2/_catalog', `Authorization: Basic ${basicOfMallory}`),
    );
    assert.equal(door.status, 429);
  });

  test('a login leads to pages of the console alone', async () => {
    for (const [to, location] of [
      ['/ui/r/app', '/ui/r/app'],
      ['/ui/?q=a&page=2', '/ui/?q=a&page=2'],
      ['//evil.example/', '/ui/'],
      ['/\\evil.example/', '/ui/'],
      ['/ui/\\evil.example', '/ui/'],
      ['https://evil.example/ui/', '/ui/'],
      ['/ui/../../evil', '/ui/'],
      ['/ui//evil.example', '/ui/'],
      ['/ui/%2f%2fevil.example', '/ui/'],
      ['/v2/', '/ui/'],
      ['/uix', '/ui/'],
      ['/ui/\r\nSet-Cookie: a=b', '/ui/'],
      ['/ui/login', '/ui/'],
      ['/ui/logout', '/ui/'],
      [' /ui/x', '/ui/'],
      ['javascript:alert(1)', '/ui/'],
      [`/ui/${'x'.repeat(3000)}`, '/ui/'],
    ] as const) {
      const entered = await createBrowser(frontDoor).logIn(undefined, undefined, { to });
      assert.deepEqual([entered.status, ...values(entered, 'location')], [303, location], to);
    }
  });
});
