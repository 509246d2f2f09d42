import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createBrowser, fromHere, type Browser } from '../support/browser.ts';
import { basic, startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import {
  anonymous,
  authorized,
  clientHost,
  errorCode,
  exchange,
  type Response,
} from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const protection = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-frame-options': 'DENY',
};

describe('requests to the console', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let browser: Browser;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['console.enabled=true', 'cors.origins=https://ui.example.com'],
    });
    browser = createBrowser(frontDoor);
    await browser.logIn();
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  const assertProtected = (response: Response) => {
    for (const [name, value] of Object.entries(protection))
      assert.deepEqual(values(response, name), [value], name);
    assert.deepEqual(values(response, 'cache-control'), ['no-store']);
    assert.equal(values(response, 'permissions-policy').length, 1);
    assert.deepEqual(values(response, 'access-control-allow-origin'), []);
    // The CA is the test's own: no browser could get past its end.
    assert.deepEqual(values(response, 'strict-transport-security'), []);
  };

  test('every answer is protected: pages, redirects, errors', async () => {
    const line = 'Origin: https://ui.example.com';
    for (const [response, status] of [
      [await browser.get('/ui/', line), 200],
      [await browser.get('/ui', line), 303],
      [await browser.get('/', line), 303],
      [await createBrowser(frontDoor).get('/ui/', line), 303],
      [await createBrowser(frontDoor).get('/ui/login', line), 200],
      [await browser.get('/ui/nothing', line), 404],
      [await browser.post('/ui/logout', {}), 403],
      [await browser.post('/ui/', {}), 405],
    ] as const) {
      assert.equal(response.status, status);
      assertProtected(response);
      assert.deepEqual(values(response, 'www-authenticate'), []);
    }
  });

  test('a file that shared caches may keep sets no cookie', async () => {
    const visitor = createBrowser(frontDoor);
    const login = await visitor.get('/ui/login?lang=zh-CN');
    assert.equal(values(login, 'set-cookie').filter((each) => each.startsWith('tidegate-lang=')).length, 1);
    const [style = ''] = /\/ui\/assets\/style-[^"]*/.exec(login.body.toString()) ?? [];
    const file = await createBrowser(frontDoor).get(`${style}?lang=zh-CN`);
    assert.match(values(file, 'cache-control').join(), /^public, .*immutable$/);
    assert.deepEqual(values(file, 'set-cookie'), []);
  });

  test('/ leads a browser there, and is as before for everyone else', async () => {
    const led = await browser.get('/');
    assert.deepEqual([led.status, ...values(led, 'location')], [303, '/ui/']);
    const asked = upstream.requests.length;
    for (const request of [
      anonymous('GET /'),
      anonymous('GET /', 'Accept: */*'),
      anonymous('HEAD /', 'Accept: text/html'),
      anonymous('POST /', 'Accept: text/html', 'Content-Length: 0'),
    ])
      assert.equal((await exchange(frontDoor, request)).status, 401);
    assert.equal(upstream.requests.length, asked);
    assert.equal((await exchange(frontDoor, authorized('GET /'))).status, 200);
    assert.equal(upstream.requests.length, asked + 1);
  });

  test('GET, HEAD and POST alone, and each where it belongs', async () => {
    const asked = upstream.requests.length;
    for (const method of ['PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'TRACE'])
      for (const path of ['/ui', '/ui/', '/ui/login']) {
        const response = await exchange(
          frontDoor,
          head(
            `${method} ${path} HTTP/1.1`,
            `Host: ${clientHost}`,
            'Content-Length: 0',
            ...['Origin: https://ui.example.com', 'Access-Control-Request-Method: POST'],
          ),
        );
        assert.ok([404, 405].includes(response.status), `${method} ${path}: ${response.status}`);
        assertProtected(response);
      }
    const wrong = await browser.get('/ui/logout');
    assert.deepEqual([wrong.status, ...values(wrong, 'allow')], [405, 'POST']);
    const overridden = await browser.get('/ui/logout', 'X-HTTP-Method-Override: POST', 'X-Method: POST');
    assert.equal(overridden.status, 405);
    const headOnly = await exchange(frontDoor, anonymous('HEAD /ui/login'));
    assert.equal(headOnly.status, 200);
    assert.equal(upstream.requests.length, asked);
  });

  test('a form is taken from a page of this host and this session alone', async () => {
    const csrf = await browser.formToken('/ui/');
    const stranger = createBrowser(frontDoor);
    const foreign = await stranger.formToken();
    const origin = `Origin: https://${clientHost}`;
    for (const [fields, lines] of [
      [{}, fromHere],
      [{ csrf: '' }, fromHere],
      [{ csrf: foreign }, fromHere],
      [{ csrf: `${csrf}x` }, fromHere],
      [{ csrf }, []],
      [{ csrf }, ['Origin: null']],
      [{ csrf }, ['Origin: https://evil.example']],
      [{ csrf }, [`Origin: http://${clientHost}`]],
      [{ csrf }, ['Origin: https://registry.example']],
      [{ csrf }, [`Origin: https://${clientHost}.evil.example`]],
      [{ csrf }, [`Origin: https://${clientHost}/`]],
      [{ csrf }, [`Origin: https://evil@${clientHost}`]],
      [{ csrf }, ['Origin: https://ui.example.com']],
      [{ csrf }, [origin, origin]],
      [{ csrf }, ['Sec-Fetch-Site: same-origin']],
      [{ csrf }, [origin, 'Sec-Fetch-Site: cross-site']],
      [{ csrf }, [origin, 'Sec-Fetch-Site: same-site']],
      [{ csrf }, [origin, 'Sec-Fetch-Site: none']],
      [{ csrf }, [origin, 'Sec-Fetch-Site: same-origin', 'Sec-Fetch-Site: cross-site']],
    ] as const) {
      const response = await browser.post('/ui/logout', fields, lines);
      assert.equal(response.status, 403, JSON.stringify([fields, lines]));
      assert.deepEqual(values(response, 'set-cookie'), []);
    }
    assert.equal((await browser.get('/ui/')).status, 200);
    // The login, too: else a visitor could be made to work as somebody else.
    for (const lines of [[], ['Origin: https://evil.example'], [origin, 'Sec-Fetch-Site: cross-site']]) {
      const response = await stranger.post(
        '/ui/login',
        { csrf: foreign, name: 'alice', password: 'x' },
        lines,
      );
      assert.equal(response.status, 403);
    }
    const twice = await exchange(frontDoor, ...formRequest(browser, `csrf=${csrf}&csrf=${csrf}`));
    assert.equal(twice.status, 403);
    assert.equal(
      (
        await browser.post('/ui/logout', { csrf }, [
          origin.toUpperCase().replace('ORIGIN: HTTPS', 'Origin: https'),
        ])
      ).status,
      303,
    );
    await browser.logIn();
  });

  test('a form is urlencoded, and bounded', async () => {
    const csrf = await browser.formToken('/ui/');
    for (const [type, body, status] of [
      ['text/plain', `csrf=${csrf}`, 400],
      ['multipart/form-data; boundary=x', `csrf=${csrf}`, 400],
      ['application/json', '{}', 400],
      ['application/x-www-form-urlencoded', `csrf=${csrf}&x=${'y'.repeat(20_000)}`, 400],
    ] as const) {
      const response = await exchange(frontDoor, ...formRequest(browser, body, type));
      assert.equal(response.status, status, type);
      assertProtected(response);
    }
  });

  test('Authorization counts for nothing there: browsers send it by themselves', async () => {
    const response = await exchange(frontDoor, authorized('GET /ui/'));
    assert.equal(response.status, 303);
    const changed = `__Host-tidegate=${browser.cookies.get('__Host-tidegate') ?? ''}`;
    for (const cookie of [
      `${changed}x`,
      changed.slice(0, -1),
      `${changed}; ${changed}`,
      changed.replace('__Host-', ''),
      changed.replace('__Host-', '__host-'),
      '__Host-tidegate=',
      `__Host-tidegate=${'A'.repeat(100)}`,
    ]) {
      const refused = await exchange(frontDoor, anonymous('GET /ui/', `Cookie: ${cookie}`));
      assert.equal(refused.status, 303, cookie);
    }
  });

  test('paths are canonical, and nothing below /ui/ reaches upstream', async () => {
    const asked = upstream.requests.length;
    for (const path of [
      ...['/ui/../v2/', '/ui/./', '/ui//login', '/ui/%2e%2e/v2/', '/ui/%2fv2/', '/ui/..%2fv2', '/ui\\..\\v2'],
      ...['//ui/', '/ui/a/..', '/ui/%00', '/ui/%0d%0a', '/ui/%', '/ui/%zz', '/ui/#x', '/ui/%252e%252e/'],
      ...[`http://${clientHost}/ui/`, '*', '/ui/..;/v2/'],
    ]) {
      const response = await exchange(frontDoor, anonymous(`GET ${path}`));
      assert.equal(response.status, 400, path);
      assert.equal(errorCode(response), 'BAD_REQUEST');
    }
    for (const path of ['/ui/v2/_catalog', '/ui/.../x', '/ui/login/', '/ui/LOGIN'])
      assert.equal((await browser.get(path)).status, 404, path);
    for (const path of ['/UI/', '/uix', '/ui%20/', '/ui;x/'])
      assert.equal((await exchange(frontDoor, authorized(`GET ${path}`))).status, 404, path);
    assert.equal(upstream.requests.length, asked);
  });

  test('the host of a request decides nothing that is sent to another', async () => {
    for (const [lines, status] of [
      [['Host: a', 'Host: b'], 400],
      [['Host: a/b'], 400],
      [['Host: a@b'], 400],
      [['Host: '], 400],
      [[], 400],
    ] as const) {
      const response = await exchange(frontDoor, head('GET /ui/login HTTP/1.1', ...lines));
      assert.equal(response.status, status, lines.join());
    }
    // What only a trusted proxy may say.
    const response = await browser.get(
      '/ui/',
      'X-Forwarded-Host: evil.example',
      'Forwarded: host=evil.example',
    );
    assert.equal(response.status, 200);
    assert.doesNotMatch(response.body.toString(), /evil/);
    const csrf = await browser.formToken('/ui/');
    const lines = ['Origin: https://evil.example', 'X-Forwarded-Host: evil.example'];
    assert.equal((await browser.post('/ui/logout', { csrf }, lines)).status, 403);
  });
});

describe('without the console', { timeout: 240_000 }, () => {
  test('its paths are as any others, and / is', async () => {
    const upstream = await startUpstream({ script: answerOk });
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: ['console.enabled=false'] });
    try {
      for (const path of ['/ui', '/ui/', '/ui/login', '/ui/assets/x']) {
        assert.equal((await exchange(frontDoor, anonymous(`GET ${path}`, 'Accept: text/html'))).status, 401);
        assert.equal((await exchange(frontDoor, authorized(`GET ${path}`))).status, 404);
      }
      assert.equal((await exchange(frontDoor, anonymous('GET /', 'Accept: text/html'))).status, 401);
      const line = await frontDoor.logged(
        (entry) => entry['path'] === '/ui/login' && entry['status'] === 404,
      );
      assert.equal(line['route'], 'outside');
    } finally {
      await frontDoor.stop();
      await upstream.close();
    }
  });
});

function formRequest(browser: Browser, body: string, type = 'application/x-www-form-urlencoded'): [string] {
  const cookie = `Cookie: __Host-tidegate=${browser.cookies.get('__Host-tidegate') ?? ''}`;
  const about = [`Content-Type: ${type}`, `Content-Length: ${body.length}`, `Authorization: ${basic}`];
  return [head('POST /ui/logout HTTP/1.1', `Host: ${clientHost}`, cookie, ...about, ...fromHere) + body];
}
