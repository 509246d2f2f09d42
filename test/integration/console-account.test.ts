import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createBrowser, readFormToken, type Browser } from '../support/browser.ts';
import { password, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { exchange } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';
import { wholeLog } from '../support/whole-log.ts';

/** The status of a request with a name and password. */
async function statusAs(frontDoor: FrontDoor, name: string, word: string): Promise<number> {
  const basic = Buffer.from(`${name}:${word}`).toString('base64');
  const request = head(
    'GET /v2/app/tags/list HTTP/1.1',
    'Host: registry.example',
    `Authorization: Basic ${basic}`,
  );
  return (await exchange(frontDoor, request)).status;
}

describe('the account page of the console', { timeout: 480_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let browser: Browser;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: ['workers=2', 'state.usage=false'] });
    browser = createBrowser(frontDoor);
    await browser.logIn();
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  const audited = (change: string, result = 'success') =>
    frontDoor.logged(
      (line) => line.msg === 'console change' && line['change'] === change && line['result'] === result,
    );

  test('makes a token, which works at once, and revokes it, at once in all workers', async () => {
    const csrf = await browser.formToken('/ui/account');
    const made = await browser.post('/ui/account/tokens', {
      ...{ csrf, name: 'ci', repositories: 'app', days: '30', action: 'pull' },
    });
    const page = made.body.toString();
    const [token = ''] = /tidegate_[A-Za-z0-9]+/.exec(page.replaceAll(/<[^>]*>/g, ' ')) ?? [];
    assert.notEqual(token, '', page);
    for (let times = 0; times < 8; times += 1) assert.equal(await statusAs(frontDoor, 'ci', token), 200);
    // The other language is at the page, not at the form's own path.
    assert.match(page, /href="\/ui\/account\?lang=zh-CN"/);
    const line = await audited('token-made');
    assert.deepEqual([line['user'], line['token'], line['repositories']], [user, 'ci', ['app']]);
    assert.ok(!JSON.stringify(await wholeLog(frontDoor)).includes(token));
    const shown = await browser.get('/ui/account');
    assert.ok(!shown.body.toString().includes(token), 'it is shown once');
    const revoked = await browser.post('/ui/account/tokens/revoke', {
      csrf: readFormToken(shown),
      name: 'ci',
    });
    assert.equal(revoked.status, 303);
    for (let times = 0; times < 8; times += 1) assert.equal(await statusAs(frontDoor, 'ci', token), 401);
    await audited('token-revoked');
  });

  test('says what is wrong with a token, and makes none', async () => {
    const csrf = await browser.formToken('/ui/account');
    for (const wrong of [{ name: user }, { name: 'a b' }, { repositories: '[' }, { action: 'fly' }]) {
      const fields = { csrf, name: 'other', repositories: 'app', days: '30', action: 'pull', ...wrong };
      assert.equal((await browser.post('/ui/account/tokens', fields)).status, 422, JSON.stringify(wrong));
    }
    assert.equal((await browser.post('/ui/account/tokens/revoke', { csrf, name: 'other' })).status, 404);
  });

  test('changes the password, and the new one works at once in all workers', async () => {
    const next = 'a better one: 1';
    const csrf = await browser.formToken('/ui/account');
    const change = (fields: Record<string, string>) =>
      browser.post('/ui/account/password', { csrf, current: password, new: next, repeated: next, ...fields });
    for (const wrong of [{ current: 'x' }, { repeated: 'x' }, { new: 'short', repeated: 'short' }])
      assert.equal((await change(wrong)).status, 422, JSON.stringify(wrong));
    await audited('password', 'failure');
    const changed = await change({});
    assert.equal(changed.status, 303);
    assert.match(String(changed.headers), /\/ui\/login\?done=passwordChanged/);
    for (let times = 0; times < 8; times += 1) {
      assert.equal(await statusAs(frontDoor, user, next), 200);
      assert.equal((await browser.get('/ui/')).status, 303, 'the session has ended');
    }
    assert.equal(await statusAs(frontDoor, user, password), 401);
    await audited('password');
    assert.ok(!JSON.stringify(await wholeLog(frontDoor)).includes(next));
  });
});
