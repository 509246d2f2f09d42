import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { anonymous, clientHost, errorCode, exchange } from '../support/raw-client.ts';
import { listenToLog, replaceConfig, replaceFile, sighup } from '../support/reload.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';
import { askWith, basicOf, challengeOf, getToken, postToken, tokenIn } from '../support/tokens.ts';
import { connectToWorker, workerPids } from '../support/workers.ts';
import { wholeLog } from '../support/whole-log.ts';

/** bcrypt of "x" and of "y" at cost 4. */
const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const otherHash = '$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm';
const htpasswd = ['alice', 'bob', 'carol'].map((name) => `${name}:${hash}\n`).join('');
const rules = `
policy:
  - { who: [user:alice], repositories: ["**"], actions: [pull, push, delete] }
  - { who: [anonymous], repositories: ["public/**"], actions: [pull] }
  - { who: [authenticated], repositories: ["public/**", "team/**"], actions: [pull] }
`;
const digest = `sha256:${'0'.repeat(64)}`;
const realm = `realm="https://${clientHost}/token",service="Registry"`;
const manifest = (repository: string) => `GET /v2/${repository}/manifests/1`;
const secret = 'a secret of one test, with some forty bytes';

describe('tokens', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    door = await startFrontDoor({ upstreamUrl: upstream.url, htpasswd, config: rules });
  });
  after(async () => {
    await door.stop();
    await upstream.close();
  });
  const tokenOf = async (name: string | null, scope: string) => {
    const lines = name === null ? [] : [basicOf(name, 'x')];
    return tokenIn(await getToken(door, `service=Registry&scope=${scope}`, ...lines)).token;
  };

  for (const [request, challenge] of [
    ['GET /v2/', `Bearer ${realm}`],
    [manifest('team/app'), `Bearer ${realm},scope="repository:team/app:pull"`],
    ['PUT /v2/team/app/manifests/1', `Bearer ${realm},scope="repository:team/app:pull,push"`],
    [`DELETE /v2/team/app/manifests/${digest}`, `Bearer ${realm},scope="repository:team/app:delete"`],
    [
      `POST /v2/a/b/blobs/uploads/?mount=${digest}&from=c/d`,
      `Bearer ${realm},scope="repository:a/b:pull,push repository:c/d:pull"`,
    ],
    ['GET /v2/no/such/thing', `Bearer ${realm}`],
    ['GET /v1/images/0123/json', 'Basic realm="Registry"'],
    ['GET /', 'Basic realm="Registry"'],
    ['GET /elsewhere', 'Basic realm="Registry"'],
    ['PUT /token', 'Basic realm="Registry"'],
  ] as const) {
    test(`the challenge to ${request.replace(digest, 'D')}`, async () => {
      const response = await askWith(door, null, request, 'User-Agent: docker/28.0.0');
      assert.equal(response.status, 401);
      assert.equal(challengeOf(response), challenge);
    });
  }

  test('the version check that is open has the challenge too, and HTTP/1.0 without Host the other one', async () => {
    const open = await exchange(door, anonymous('GET /v2/'));
    assert.deepEqual([open.status, challengeOf(open)], [200, `Bearer ${realm}`]);
    const old = await exchange(door, head('GET /v2/team/app/tags/list HTTP/1.0'));
    assert.deepEqual([old.status, challengeOf(old)], [401, 'Basic realm="Registry"']);
  });

  test('a user gets a token for what the policy allows, and it is good for that alone', async () => {
    const answer = tokenIn(
      await getToken(
        door,
        'service=Registry&scope=repository:team/app:pull,push&scope=repository:other/app:pull+registry:catalog:*&scope=plugin:x:y&account=bob&client_id=docker&offline_token=true',
        basicOf('bob', 'x'),
      ),
    );
    assert.equal(answer.scope, 'repository:team/app:pull registry:catalog:*');
    assert.equal(answer.expires_in, 300);
    assert.ok(Math.abs(Date.parse(answer.issued_at) - Date.now()) < 60_000);
    assert.equal(answer.refresh_token, undefined, 'none under a key that the next start forgets');
    const { token } = answer;
    assert.equal((await askWith(door, token, 'GET /v2/', 'User-Agent: docker/28.0.0')).status, 200);
    assert.equal((await askWith(door, token, manifest('team/app'))).status, 200);
    assert.equal((await askWith(door, token, 'GET /v2/team/app/tags/list')).status, 200);
    const [forwarded] = upstream.requests.slice(-1);
    assert.ok(forwarded);
    assert.deepEqual(values(forwarded, 'authorization'), []);
    const { user } = await door.logged(
      (line) => line['path'] === '/v2/team/app/tags/list' && line['status'] === 200,
    );
    assert.equal(user, 'bob');
    // The policy allows it, and the token does not: another token would.
    const lacking = await askWith(door, token, manifest('public/app'));
    assert.equal(lacking.status, 401);
    assert.equal(
      challengeOf(lacking),
      `Bearer ${realm},scope="repository:public/app:pull",error="insufficient_scope"`,
    );
    // The policy does not allow it: no token would.
    const denied = await askWith(door, token, 'PUT /v2/team/app/manifests/1');
    assert.deepEqual([denied.status, errorCode(denied)], [403, 'DENIED']);
    assert.match(denied.body.toString(), /bob may pull but not push team\/app \(rule 3\)/);
    assert.equal((await askWith(door, token, manifest('other/app'))).status, 404);
  });

  test('one who does not say who he is gets one for what is public', async () => {
    const token = await tokenOf(null, 'repository:public/app:pull,push+repository:team/app:pull');
    assert.equal((await askWith(door, token, manifest('public/app'))).status, 200);
    assert.equal((await askWith(door, token, 'GET /v2/')).status, 200);
    for (const request of [manifest('team/app'), 'PUT /v2/public/app/manifests/1', 'GET /']) {
      const refused = await askWith(door, token, request);
      assert.equal(refused.status, 401, request);
      const isV2 = request !== 'GET /';
      assert.equal(challengeOf(refused).includes('error="insufficient_scope"'), isV2);
    }
  });

  test('name and password are taken as ever, and so is nothing at all', async () => {
    assert.equal((await askWith(door, null, manifest('team/app'), basicOf('bob', 'x'))).status, 200);
    assert.equal((await askWith(door, null, 'GET /v1/users/', basicOf('bob', 'x'))).status, 200);
    assert.equal((await askWith(door, null, manifest('public/app'))).status, 200);
  });

  test('an empty name with an empty password is nobody, wherever it is sent', async () => {
    const nobody = basicOf('', '');
    const scope = 'repository:public/app:pull,push repository:team/app:pull';
    const form = { grant_type: 'password', username: '', password: '', service: 'Registry', scope };
    for (const response of [
      await getToken(door, `service=Registry&scope=${encodeURIComponent(scope)}`, nobody),
      await postToken(door, form),
    ])
      assert.equal(tokenIn(response).scope, 'repository:public/app:pull');
    assert.equal((await askWith(door, null, manifest('public/app'), nobody)).status, 200);
    const refused = await askWith(door, null, manifest('team/app'), nobody);
    assert.deepEqual([refused.status, errorCode(refused)], [401, 'UNAUTHORIZED']);
    assert.equal(challengeOf(refused), `Bearer ${realm},scope="repository:team/app:pull"`);
    const asked = await askWith(door, null, 'GET /v2/', nobody, 'User-Agent: containers/5.23.1');
    assert.deepEqual([asked.status, challengeOf(asked)], [401, `Bearer ${realm}`]);
    const guessed = await getToken(door, 'service=Registry', basicOf('', 'x'));
    assert.equal(guessed.status, 401);
  });

  test('a mount wants its source in the token', async () => {
    const start = `POST /v2/a/b/blobs/uploads/?mount=${digest}&from=c/d`;
    for (const [scope, query] of [
      ['repository:a/b:pull,push', ''],
      ['repository:a/b:push repository:c/d:pull', `?mount=${digest}&from=c/d`],
    ] as const) {
      const token = await tokenOf('alice', encodeURIComponent(scope));
      const form = 'Content-Type: application/x-www-form-urlencoded';
      assert.equal((await askWith(door, token, start, form)).status, 200);
      const last = upstream.requests.at(-1);
      assert.equal(last?.startLine, `POST /v2/a/b/blobs/uploads/${query} HTTP/1.1`);
      assert.deepEqual(values(last, 'content-type'), []);
    }
  });

  for (const scheme of ['Bearer', 'Bearer ', 'Bearer x', 'Bearer a.b.c', 'bearer a.b.c,d', 'BEARER ..']) {
    test(`refuses the Authorization ${JSON.stringify(scheme)}`, async () => {
      const response = await askWith(door, null, manifest('public/app'), `Authorization: ${scheme}`);
      assert.equal(response.status, 401);
      assert.match(challengeOf(response), /,error="invalid_token"$/);
    });
  }

  test('a token is good for registry requests, and not for the first protocol or for another token', async () => {
    const token = await tokenOf('alice', 'repository:a/b:pull,push,delete');
    assert.equal((await askWith(door, token, 'GET /v1/images/0123/json')).status, 403);
    assert.equal((await askWith(door, token, 'GET /v2/a/b/unheard/of')).status, 403);
    assert.equal((await askWith(door, token, 'GET /token')).status, 401);
  });

  for (const [what, query, status] of [
    ['another service', 'service=other', 400],
    ['two services', 'service=Registry&service=Registry', 400],
    ['too many scopes', `scope=${'repository:a:pull+'.repeat(33)}`, 400],
    ['a wrong password', 'service=Registry', 401],
  ] as const) {
    test(`GET refuses ${what}`, async () => {
      const response = await getToken(door, query, basicOf('carol', status === 401 ? 'wrong' : 'x'));
      assert.equal(response.status, status);
      if (status === 401) assert.equal(challengeOf(response), 'Basic realm="Registry"');
    });
  }

  test('the service is named in any case, as by clients that read the challenge in lower case', async () => {
    for (const service of ['registry', 'REGISTRY']) {
      const query = `service=${service}&scope=repository:team/app:pull`;
      const { token, scope } = tokenIn(await getToken(door, query, basicOf('bob', 'x')));
      assert.equal(scope, 'repository:team/app:pull');
      assert.equal((await askWith(door, token, manifest('team/app'))).status, 200);
      const form = { grant_type: 'password', username: 'bob', password: 'x', service };
      assert.equal((await askWith(door, tokenIn(await postToken(door, form)).token, 'GET /v2/')).status, 200);
    }
    // The place, too, is read in lower case: path and host are the same so.
    assert.equal(realm.replace(/service=.*/, ''), realm.replace(/service=.*/, '').toLowerCase());
  });

  test('POST takes name and password as a form, in chunks too', async () => {
    const form = {
      ...{ grant_type: 'password', username: 'bob', password: 'x', service: 'Registry', client_id: 'c' },
      ...{ access_type: 'offline', scope: 'repository:team/app:pull,push repository:public/app:pull' },
    };
    const answer = tokenIn(await postToken(door, form));
    assert.equal(answer.scope, 'repository:team/app:pull repository:public/app:pull');
    assert.equal((await askWith(door, answer.token, manifest('team/app'))).status, 200);
    const body = new URLSearchParams(form).toString();
    const chunked = await exchange(
      door,
      head(
        ...['POST /token HTTP/1.1', `Host: ${clientHost}`, 'Transfer-Encoding: chunked'],
        'Content-Type: application/x-www-form-urlencoded; charset=utf-8',
      ) + `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    );
    tokenIn(chunked);
  });

  const right = { grant_type: 'password', username: 'carol', password: 'x' };
  for (const [what, form, error] of [
    ['no grant type', {}, 'invalid_request'],
    ['another grant type', { grant_type: 'client_credentials' }, 'unsupported_grant_type'],
    ['no password', { grant_type: 'password', username: 'carol' }, 'invalid_request'],
    ['no refresh token', { grant_type: 'refresh_token' }, 'invalid_request'],
    ['another service', { ...right, service: 'other' }, 'invalid_request'],
    ['too many scopes', { ...right, scope: 'repository:a:pull '.repeat(33) }, 'invalid_scope'],
    ['two names', 'grant_type=password&username=carol&username=bob&password=x', 'invalid_request'],
    ['a wrong password', { ...right, password: 'wrong' }, 'invalid_grant'],
    ['a name with a colon', { ...right, username: 'carol:x', password: '' }, 'invalid_grant'],
    ['a refresh token of nobody', { grant_type: 'refresh_token', refresh_token: 'a.b.c' }, 'invalid_grant'],
  ] as const) {
    test(`POST refuses ${what}`, async () => {
      const response = await postToken(door, form);
      assert.equal(response.status, 400);
      const body = JSON.parse(response.body.toString()) as { error: string; error_description: string };
      assert.equal(body.error, error);
      assert.notEqual(body.error_description, '');
      assert.equal(errorCode(response), error === 'invalid_grant' ? 'UNAUTHORIZED' : 'BAD_REQUEST');
    });
  }

  test('POST gives a refresh token to who asks for one, without keys in files as well', async () => {
    const login = tokenIn(await postToken(door, { ...right, access_type: 'offline' }));
    const { refresh_token: refreshToken = '' } = login;
    const form = { grant_type: 'refresh_token', refresh_token: refreshToken };
    assert.equal((await askWith(door, tokenIn(await postToken(door, form)).token, 'GET /v2/')).status, 200);
    assert.equal(tokenIn(await postToken(door, right)).refresh_token, undefined);
  });

  test('POST refuses what is no form, and what is too large', async () => {
    const post = (type: string, length: number) =>
      exchange(
        door,
        head(
          'POST /token HTTP/1.1',
          `Host: ${clientHost}`,
          `Content-Type: ${type}`,
          `Content-Length: ${length}`,
        ) + 'x'.repeat(length),
      );
    assert.equal((await post('application/json', 2)).status, 400);
    assert.equal((await post('application/x-www-form-urlencoded', 40_000)).status, 413);
    const chunk = `${(40_000).toString(16)}\r\n${'x'.repeat(40_000)}\r\n0\r\n\r\n`;
    const type = 'Content-Type: application/x-www-form-urlencoded';
    const lines = ['POST /token HTTP/1.1', `Host: ${clientHost}`, type, 'Transfer-Encoding: chunked'];
    assert.equal((await exchange(door, head(...lines) + chunk)).status, 413);
  });

  test('no line of the log has a token', async () => {
    const token = await tokenOf('alice', 'repository:a/b:pull');
    await askWith(door, token, 'GET /v2/a/b/manifests/last');
    await askWith(door, `${token}x`, 'GET /v2/a/b/manifests/very-last');
    const { reason } = await door.logged((line) => line['path'] === '/v2/a/b/manifests/very-last');
    assert.equal(reason, 'invalid-token');
    assert.ok(!JSON.stringify(await wholeLog(door)).includes(token.slice(0, 30)));
  });

  test('a change of the policy counts for tokens that are out', async () => {
    const token = await tokenOf('bob', 'repository:team/moved:pull');
    const stranger = await tokenOf(null, 'repository:public/moved:pull');
    assert.equal((await askWith(door, token, manifest('team/moved'))).status, 200);
    await replaceConfig(door, rules.replace('"team/**"', '"other/**"'));
    assert.equal((await sighup(door)).msg, 'reloaded');
    assert.equal((await askWith(door, token, manifest('team/moved'))).status, 404);
    assert.equal((await askWith(door, stranger, manifest('public/moved'))).status, 200);
    // Without an anonymous rule there are no tokens any more.
    await replaceConfig(door, rules.replace('anonymous', 'user:nobody'));
    assert.equal((await sighup(door)).msg, 'reloaded');
    for (const each of [token, stranger]) {
      const refused = await askWith(door, each, manifest('public/moved'));
      assert.deepEqual([refused.status, challengeOf(refused)], [401, 'Basic realm="Registry"']);
    }
    assert.equal((await getToken(door, 'service=Registry')).status, 401);
    assert.equal((await getToken(door, 'service=Registry', basicOf('bob', 'x'))).status, 404);
    await replaceConfig(door, rules);
    await sighup(door);
    assert.equal((await askWith(door, token, manifest('team/moved'))).status, 200);
  });
});

describe('tokens without a policy, with keys in files, of two workers', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  let keyPath: string;
  const config = (...files: string[]) =>
    `workers: 2\nauth: { tokens: on, tokenKeys: [${files.join(', ')}], versionCheck: challenge }\n`;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    door = await startFrontDoor({
      ...{ upstreamUrl: upstream.url, htpasswd, set: ['workers=2'] },
      config: 'workers: 2\nauth: { tokens: on }\n',
    });
    keyPath = path.join(door.dir, 'first.key');
    await replaceFile(keyPath, `${secret} 1\n`);
  });
  after(async () => {
    await door.stop();
    await upstream.close();
  });
  const login = async (...lines: string[]) =>
    tokenIn(
      await getToken(
        door,
        'service=Registry&scope=repository:a/b:pull&offline_token=true',
        ...[basicOf('bob', 'x'), ...lines],
      ),
    );
  const refresh = (token: string) =>
    postToken(door, { grant_type: 'refresh_token', refresh_token: token, scope: 'repository:a/b:pull' });

  test('a token of one worker is good at the other', async () => {
    const { token } = await login();
    const pids = await workerPids(door);
    assert.equal(pids.length, 2);
    for (const pid of pids) {
      const client = await connectToWorker(door, pid);
      client.send(
        head(`${manifest('a/b')} HTTP/1.1`, `Host: ${clientHost}`, `Authorization: Bearer ${token}`),
      );
      assert.equal((await client.response()).status, 200);
      client.leave();
    }
    // Without a policy a user may do everything, but not with a token for less.
    assert.equal((await askWith(door, token, 'PUT /v2/a/b/manifests/1')).status, 401);
    assert.equal((await askWith(door, token, 'GET /v2/x')).status, 403);
    assert.equal((await askWith(door, null, 'GET /v2/x', basicOf('bob', 'x'))).status, 200);
    for (const lines of [[], [basicOf('', '')]])
      assert.equal((await getToken(door, 'service=Registry', ...lines)).status, 401);
    const posted = await postToken(door, { grant_type: 'password', username: '', password: '' });
    const { error, error_description: sentence } = JSON.parse(posted.body.toString()) as Record<
      string,
      string
    >;
    assert.equal(error, 'invalid_grant');
    assert.match(sentence ?? '', /^Credentials are needed: /);
  });

  test('with keys in files there are refresh tokens, good for tokens alone; and keys change as files do', async () => {
    const logged = listenToLog(door);
    await chmod(keyPath, 0o644);
    await replaceConfig(door, config(keyPath));
    await sighup(door);
    assert.match(
      (await logged(({ msg }) => msg.includes('first.key'))).msg,
      /can be read by other users.*chmod 600/,
    );
    const first = await login();
    assert.ok(first.refresh_token);
    const second = tokenIn(await refresh(first.refresh_token));
    assert.equal(second.scope, 'repository:a/b:pull');
    assert.equal((await askWith(door, second.token, manifest('a/b'))).status, 200);
    assert.equal((await askWith(door, first.refresh_token, manifest('a/b'))).status, 401);
    assert.equal((await refresh(first.token)).status, 400);

    // A new one in front, the old one behind it: what is out stays good. The files are followed by themselves.
    const newKeyPath = path.join(door.dir, 'second.key');
    await replaceFile(newKeyPath, `${secret} 2\n`);
    const reloaded = listenToLog(door);
    await replaceConfig(door, config(newKeyPath, keyPath));
    assert.deepEqual((await reloaded(({ msg }) => msg === 'reloaded'))['changed'], ['auth.tokenKeys']);
    assert.equal((await askWith(door, first.token, manifest('a/b'))).status, 200);
    tokenIn(await refresh(first.refresh_token));
    const third = await login();
    // Then the old one goes, and with it what it signed.
    const without = listenToLog(door);
    await replaceConfig(door, config(newKeyPath));
    await without(({ msg }) => msg === 'reloaded');
    assert.equal((await askWith(door, first.token, manifest('a/b'))).status, 401);
    assert.equal((await refresh(first.refresh_token)).status, 400);
    assert.equal((await askWith(door, third.token, manifest('a/b'))).status, 200);
    // Other content under the same name is another key.
    const changed = listenToLog(door);
    await replaceFile(newKeyPath, `${secret} 3\n`);
    assert.deepEqual((await changed(({ msg }) => msg === 'reloaded'))['changed'], ['auth.tokenKeys']);
    assert.equal((await askWith(door, third.token, manifest('a/b'))).status, 401);
    // One that is too short is refused, and the one before stays.
    await writeFile(newKeyPath, 'short\n');
    assert.match((await sighup(door)).msg, /second\.key holds 5 bytes, and a secret for tokens has 32/);
    await replaceFile(newKeyPath, `${secret} 3\n`);
  });

  test('a token ends with its user, and with the password', async () => {
    const { token, refresh_token: refreshToken = '' } = await login();
    assert.equal((await askWith(door, token, manifest('a/b'))).status, 200);
    for (const content of [
      htpasswd.replace(`bob:${hash}`, `bob:${otherHash}`),
      htpasswd.replace(/bob:.*\n/, ''),
    ]) {
      await replaceFile(door.htpasswdPath, content);
      await sighup(door);
      assert.equal((await askWith(door, token, manifest('a/b'))).status, 401);
      assert.equal((await refresh(refreshToken)).status, 400);
    }
    await replaceFile(door.htpasswdPath, htpasswd);
    await sighup(door);
    assert.equal((await askWith(door, token, manifest('a/b'))).status, 200);
  });
});
