import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createMachineToken, hashMachineToken } from '../../src/auth/machine-tokens/machine-token.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import {
  addTokens,
  askAs,
  patient,
  tokenCommand,
  tokenFile,
  untilStatus,
  type TokenLogin,
} from '../support/machine-tokens.ts';
import { tidegate } from '../support/processes.ts';
import {
  anonymous,
  clientHost,
  connectClient,
  errorCode,
  exchange,
  type RawClient,
} from '../support/raw-client.ts';
import { until } from '../support/redis.ts';
import { replaceFile } from '../support/reload.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';
import { askWith, basicOf, challengeOf, getToken, postToken, tokenIn } from '../support/tokens.ts';
import { connectToWorker, workerPids } from '../support/workers.ts';
import { wholeLog } from '../support/whole-log.ts';

/** bcrypt of "x" at cost 4. */
const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const htpasswd = ['alice', 'bob'].map((name) => `${name}:${hash}\n`).join('');
const digest = `sha256:${'a'.repeat(64)}`;
const manifest = (repository: string) => `GET /v2/${repository}/manifests/1`;
const catalog = JSON.stringify({ repositories: ['base/x', 'other/app', 'team/app', 'team/b'] });

const v1Token = [
  ['X-Docker-Token', 'signature=1'],
  ['WWW-Authenticate', 'Token signature=1'],
] as const;

/** An upstream that has a list of repositories, and says yes to anything else. */
const startListingUpstream = () =>
  startUpstream({
    script: (request) =>
      request.startLine.startsWith('GET /v2/_catalog')
        ? request.answer(
            head('HTTP/1.1 200 OK', 'Content-Type: application/json', `Content-Length: ${catalog.length}`),
            catalog,
          )
        : request.startLine.startsWith('GET /v2/v1/tokens/')
          ? request.answer(
              head(
                'HTTP/1.1 200 OK',
                ...v1Token.map(([name, value]) => `${name}: ${value}`),
                'Content-Length: 0',
              ),
            )
          : answerOk(request),
  });

describe('machine tokens without a policy', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  let logins: Awaited<ReturnType<typeof makeTokens>>;
  const makeTokens = () =>
    addTokens(door, {
      ci: { repositories: ['team/**', 'base/*'], actions: ['pull', 'push'] },
      lister: { repositories: ['team/*'] },
      pusher: { actions: ['push'] },
      reader: {},
      owned: { owner: 'bob' },
    });
  before(async () => {
    upstream = await startListingUpstream();
    door = await startFrontDoor({ upstreamUrl: upstream.url, htpasswd, set: [tokenFile, ...patient] });
    logins = await makeTokens();
  });
  after(async () => {
    await door.stop();
    await upstream.close();
  });
  test('their scopes alone bound them: what they name is allowed, and nothing else', async () => {
    const login = logins.ci;
    for (const [request, status] of [
      ['GET /v2/', 200],
      [manifest('team/app'), 200],
      [manifest('base/x'), 200],
      ['POST /v2/team/app/blobs/uploads/', 200],
      [`DELETE /v2/team/app/manifests/${digest}`, 403],
      [manifest('other/app'), 404],
      ['GET /v2/other/app/tags/list', 404],
      ['POST /v2/other/app/blobs/uploads/', 404],
      ['GET /v1/images/0123/json', 403],
      ['GET /v2/team/app/unheard/of', 403],
    ] as const) {
      const seen = upstream.requests.length;
      const response = await askAs(door, login, request);
      assert.equal(response.status, status, request);
      if (status !== 200) assert.equal(upstream.requests.length, seen, `${request} went on to upstream`);
    }
    const denied = await askAs(door, login, `DELETE /v2/team/app/manifests/${digest}`);
    assert.match(
      denied.body.toString(),
      /token:ci may pull and push but not delete team\/app \(the token's own scopes/,
    );
    const line = await door.logged(
      (entry) => entry['reason'] === 'denied-by-scopes' && entry['method'] === 'DELETE',
    );
    assert.equal(line['user'], 'token:ci');
    // A user is bounded by nothing, as before.
    assert.equal((await askAs(door, ['alice', 'x'], `DELETE /v2/other/app/manifests/${digest}`)).status, 200);
  });

  test('a list shows what a token may pull', async () => {
    const names = async (login: TokenLogin) =>
      (
        JSON.parse((await askAs(door, login, 'GET /v2/_catalog')).body.toString()) as {
          repositories: string[];
        }
      ).repositories;
    assert.deepEqual(await names(logins.lister), ['team/app', 'team/b']);
    assert.deepEqual(await names(logins.pusher), []);
    assert.deepEqual(await names(logins.reader), ['base/x', 'other/app', 'team/app', 'team/b']);
    assert.deepEqual(await names(['alice', 'x']), ['base/x', 'other/app', 'team/app', 'team/b']);
  });

  test('a mount needs pull on its source', async () => {
    for (const [from, query] of [
      ['team/b', `?mount=${digest}&from=team/b`],
      ['other/app', ''],
    ] as const) {
      await askAs(door, logins.ci, `POST /v2/team/app/blobs/uploads/?mount=${digest}&from=${from}`);
      assert.equal(upstream.requests.at(-1)?.startLine, `POST /v2/team/app/blobs/uploads/${query} HTTP/1.1`);
    }
  });

  test('they get no token of the first protocol from upstream, none is theirs, and users get one', async () => {
    const request = 'GET /v2/v1/tokens/manifests/1';
    const seen = async (login: TokenLogin) => {
      const answer = await askAs(door, login, request);
      return v1Token.map(([name]) => values(answer, name));
    };
    const askWithToken = () =>
      exchange(door, anonymous('GET /v1/images/0123/json', 'Authorization: Token signature=1'));
    assert.deepEqual(await seen(logins.reader), [[], []]);
    assert.equal((await askWithToken()).status, 401);
    assert.deepEqual(
      await seen(['alice', 'x']),
      v1Token.map(([, value]) => [value]),
    );
    assert.equal((await askWithToken()).status, 200);
  });

  test('one is taken as a Basic password under its name, and nowhere else', async () => {
    const [name, token] = logins.ci;
    const right = basicOf(name, token);
    const value = right.replace('Authorization: ', '');
    const seen = upstream.requests.length;
    const from = door.log.length;
    for (const [lines, target = '/v2/team/app/manifests/1'] of [
      [[`Authorization: Token ${token}`]],
      [[`Authorization: Token ${value}`]],
      [[`Authorization: Bearer ${token}`]],
      [[`Authorization: Bearer ${value.slice('Basic '.length)}`]],
      [[`Authorization: ${token}`]],
      [[basicOf(token, '')]],
      [[basicOf('', token)]],
      [[basicOf(token, token)]],
      [[basicOf('oidc', token)]],
      [[basicOf('CI', token)]],
      [[basicOf('token:ci', token)]],
      [[basicOf('alice', token)]],
      [[basicOf('ci ', token)]],
      [[basicOf('ci', token.toUpperCase())]],
      [[basicOf('ci', ` ${token}`)]],
      [[right, right]],
      [[`${right}, ${value}`]],
      [[`X-Docker-Token: ${token}`]],
      [[`X-Registry-Auth: ${Buffer.from(`{"registrytoken":"${token}"}`).toString('base64')}`]],
      [[`Proxy-Authorization: ${value}`]],
      [[`Private-Token: ${token}`, `Job-Token: ${token}`, `Cookie: token=${token}`]],
      [[], `/v2/team/app/manifests/1?access_token=${token}&token=${token}`],
    ] as const) {
      const answer = await exchange(door, anonymous(`GET ${target}`, ...lines));
      assert.equal(answer.status, 401, lines.join());
      assert.ok(!answer.body.includes(token), lines.join());
    }
    assert.equal((await askAs(door, logins.ci, manifest('team/app'))).status, 200);
    assert.equal(upstream.requests.length, seen + 1, 'nothing else came to upstream');
    const heads = JSON.stringify(upstream.requests.map((request) => request.head));
    const log = JSON.stringify((await wholeLog(door)).slice(from)).toLowerCase();
    for (const secret of [token, value.slice('Basic '.length)]) {
      assert.ok(!heads.includes(secret));
      assert.ok(!log.includes(secret.toLowerCase()));
    }
  });

  test('one with an owner ends with the owner', async () => {
    const login = logins.owned;
    assert.equal((await askAs(door, login, manifest('team/app'))).status, 200);
    const removed = await tidegate(
      ['user', 'remove', 'bob', '--file', door.htpasswdPath, '--tokens', path.join(door.dir, 'none.yml')],
      { cwd: door.dir },
    );
    assert.equal(removed.code, 0, removed.stderr);
    await untilStatus(door, login, manifest('team/app'), 401);
    assert.match(
      (await askAs(door, login, 'GET /v2/')).body.toString(),
      /owned has ended with its owner bob/,
    );
    const line = await door.logged((entry) => entry['reason'] === 'ownerless-machine-token');
    assert.equal(line['token'], 'owned');
    writeFileSync(door.htpasswdPath, htpasswd);
  });

  test('what was seen of tokens is counted and logged by kind, and no line has one or its hash', async () => {
    const login = logins.pusher;
    const body = '{}';
    await exchange(
      door,
      head(
        'PUT /v2/team/app/manifests/1 HTTP/1.1',
        `Host: ${clientHost}`,
        basicOf(...login),
        `Content-Length: ${body.length}`,
      ) + body,
    );
    const audit = await door.logged((entry) => entry.msg === 'push' && entry['user'] === 'token:pusher');
    assert.equal(audit['repository'], 'team/app');
    const text = JSON.stringify(await wholeLog(door));
    assert.ok(!text.includes(login[1]));
    assert.ok(!text.includes(hashMachineToken(login[1])));
    assert.doesNotMatch(text, /tidegate_[0-9A-Za-z]{20}/);
  });
});

describe(
  'machine tokens of two instances that share their file, one with two workers',
  { timeout: 480_000 },
  () => {
    let upstream: ScriptedUpstream;
    let door: FrontDoor;
    let other: FrontDoor;
    const clients: RawClient[] = [];
    before(async () => {
      upstream = await startUpstream({ script: answerOk });
      const set = [...patient, 'auth.versionCheck=challenge'];
      door = await startFrontDoor({
        upstreamUrl: upstream.url,
        htpasswd,
        set: [...set, tokenFile, 'workers=2'],
      });
      other = await startFrontDoor({
        upstreamUrl: upstream.url,
        htpasswd,
        set: [...set, `auth.machineTokens=${path.join(door.dir, 'tokens.yml')}`],
      });
      for (const pid of await workerPids(door)) clients.push(await connectToWorker(door, pid));
      clients.push(await connectClient(other));
      assert.equal(clients.length, 3);
    });
    after(async () => {
      for (const client of clients) client.leave();
      await other.stop();
      await door.stop();
      await upstream.close();
    });
    const request = (login: TokenLogin) =>
      head('GET /v2/a/tags/list HTTP/1.1', `Host: ${clientHost}`, basicOf(...login));
    /** The statuses from each worker of the one instance, and from the other instance. */
    const statuses = async (login: TokenLogin) => {
      const all: number[] = [];
      for (const client of clients) {
        client.send(request(login));
        all.push((await client.response()).status);
      }
      return all.join();
    };

    test('day and address of the last use are kept, whichever process saw it', async () => {
      const logins = await addTokens(door, { one: {}, two: {}, three: {} });
      await until('all have heard', async () => (await statuses(logins.three)) === '200,200,200');
      for (const [index, login] of [logins.one, logins.two].entries()) {
        clients[2 * index]?.send(request(login));
        assert.equal((await clients[2 * index]?.response())?.status, 200);
      }
      await until('all are written', async () => {
        const list = await tokenCommand(door, 'list');
        return (list.match(/^\w+ .* \d{4}-\d\d-\d\d from 127\.0\.0\.1$/gm) ?? []).length === 3;
      });
    });

    test('all hear of a revocation, a rotation, and of a file that goes, within a second', async () => {
      const { moving, unused } = await addTokens(door, { unused: {}, moving: {} });
      await until('all take it', async () => (await statuses(moving)) === '200,200,200');
      const file = path.join(door.dir, 'tokens.yml');
      const text = readFileSync(file, 'utf8');
      for (const change of [
        () => tokenCommand(door, 'revoke', 'moving'),
        () => replaceFile(file, text),
        () => tokenCommand(door, 'rotate', 'moving'),
        () => replaceFile(file, text),
        () => rm(file),
        () => replaceFile(file, text),
        // By hand, and wrong: that entry never matches, and all others do.
        () => replaceFile(file, text.replace(/("name":"moving".*)"pull"/, '$1"fly"')),
      ]) {
        const before = (await statuses(moving)).startsWith('200');
        await change();
        const expected = before ? '401,401,401' : '200,200,200';
        await until('all have heard', async () => (await statuses(moving)) === expected);
      }
      assert.match(
        (await door.logged(({ msg }) => msg.includes('entries that never match'))).msg,
        /tokens\.yml has entries that never match: line \d+: its actions are no list of pull, push, delete\./,
      );
      await replaceFile(file, text.replace(/.*"name":"unused".*\n/, ''));
      await until('all take it', async () => (await statuses(moving)) === '200,200,200');
      // The name of one that has gone is still logged, at its first use: a repeat is logged no more.
      clients[0]?.send(request(unused));
      assert.equal((await clients[0]?.response())?.status, 401);
      await door.logged(
        (entry) => entry['reason'] === 'unknown-machine-token' && entry['token'] === 'unused',
      );
      await replaceFile(file, text);
      // A file that cannot be read as a whole keeps what was read last, as the htpasswd file does.
      await replaceFile(file, `${text}- {\n`);
      for (const instance of [door, other])
        assert.match(
          (await instance.logged(({ msg }) => msg.includes('cannot be used'))).msg,
          /\(line \d+: .*\): the machine tokens that were read last stay in effect\.$/,
        );
      assert.equal(await statuses(moving), '200,200,200');
    });
  },
);

describe('machine tokens that are wrong', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    door = await startFrontDoor({
      upstreamUrl: upstream.url,
      htpasswd,
      set: [
        tokenFile,
        'auth.throttle.addressFailures=4',
        'auth.throttle.nameFailures=2',
        'auth.throttle.answerDelay=0',
      ],
    });
  });
  after(async () => {
    await door.stop();
    await upstream.close();
  });

  test('are 401 with a sentence in the log, and lock out their address, and no name and no right token', async () => {
    const right = ['ci', await tokenCommand(door, 'create', 'ci')] as const;
    await tokenCommand(door, 'create', 'short', '--expires', '90d');
    const file = path.join(door.dir, 'tokens.yml');
    const expired = ['ended', createMachineToken()] as const;
    const entry = {
      name: 'ended',
      sha256: hashMachineToken(expired[1]),
      repositories: ['**'],
      actions: ['pull'],
      expires: '2026-01-01',
    };
    await replaceFile(file, `${readFileSync(file, 'utf8')}- ${JSON.stringify(entry)}\n`);
    await door.logged((line) => line['tokens'] === 3); // nothing wrong is sent before
    for (let each = 0; each < 20; each += 1) {
      const response = await askAs(door, expired, 'GET /v2/');
      assert.equal(response.status, 401);
      assert.match(response.body.toString(), /The machine token ended expired at 2026-01-01T00:00:00.000Z/);
    }
    const malformed = ['ci', `${right[1].slice(0, -1)}_`] as const;
    assert.equal((await askAs(door, malformed, 'GET /v2/')).status, 401);
    assert.equal((await askAs(door, ['alice', createMachineToken()], 'GET /v2/')).status, 401);
    assert.equal((await askAs(door, ['ci', createMachineToken()], 'GET /v2/')).status, 401);
    const locked = await askAs(door, ['alice', createMachineToken()], 'GET /v2/');
    assert.equal(locked.status, 429);
    assert.ok(Number(values(locked, 'retry-after')[0]) > 0);
    assert.equal((await askAs(door, right, 'GET /v2/')).status, 200);
    await door.logged((line) => line['token'] === 'ci' && line['reason'] === 'unknown-machine-token');
    const sentences = door.log.filter((line) => line['token'] !== undefined && line['reason'] !== undefined);
    assert.deepEqual(
      sentences.map((line) => [line['token'], line['reason']]),
      [
        ['ended', 'expired-machine-token'],
        ['ci', 'malformed-machine-token'],
        [null, 'unknown-machine-token'],
        ['ci', 'unknown-machine-token'],
      ],
    );
    const lockOuts = door.log.filter(({ msg }) => msg.includes('locked out'));
    assert.ok(
      lockOuts.length > 0 && lockOuts.every(({ msg }) => msg.includes('address')),
      JSON.stringify(lockOuts),
    );
  });
});

describe('machine tokens under a policy, and with tokens from /token', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  let logins: Awaited<ReturnType<typeof makeTokens>>;
  const makeTokens = () =>
    addTokens(door, {
      ci: { repositories: ['team/a*', 'release/**'], actions: ['pull', 'push', 'delete'] },
      owned: { actions: ['pull', 'push'], owner: 'bob' },
      robot: { actions: ['pull', 'push'] },
      fetcher: {},
      brief: { expiresMs: Date.now() + 60_000 },
    });
  const config = `
auth: { tokens: on, tokenKeys: [token.key] }
groups: { machines: ['token:robot'] }
policy:
  - { who: ['token:ci', 'token:owned', 'user:alice'], repositories: ['team/**'], actions: [pull, push] }
  - { who: ['group:machines'], repositories: ['release/**'], actions: [pull, push, overwrite] }
  - { who: [authenticated], repositories: ['**'], actions: [pull] }
immutableTags: ['release/*:v*']
`;
  before(async () => {
    upstream = await startListingUpstream();
    door = await startFrontDoor({
      upstreamUrl: upstream.url,
      htpasswd,
      config: config.replace(', tokenKeys: [token.key]', ''),
      set: [tokenFile, ...patient],
    });
    await replaceFile(path.join(door.dir, 'token.key'), 'a secret of thirty-two or more bytes\n');
    await replaceFile(path.join(door.dir, 'tidegate.yml'), config);
    await door.logged(({ msg }) => msg === 'reloaded');
    logins = await makeTokens();
  });
  after(async () => {
    await door.stop();
    await upstream.close();
  });
  const service = 'service=Registry&scope=';

  test('a token may what both its scopes and the policy allow, and no more than its owner', async () => {
    const { ci, owned } = logins;
    for (const [request, status] of [
      [manifest('team/app'), 200],
      ['PUT /v2/team/app/manifests/1', 200],
      [`DELETE /v2/team/app/manifests/${digest}`, 403], // the policy
      [manifest('team/b'), 404], // its scopes
      [manifest('release/app'), 404], // the policy: "authenticated" means users
    ] as const)
      assert.equal((await askAs(door, ci, request)).status, status, request);
    assert.equal((await askAs(door, owned, manifest('team/app'))).status, 200);
    const denied = await askAs(door, owned, 'PUT /v2/team/app/manifests/1');
    assert.equal(denied.status, 403);
    assert.match(denied.body.toString(), /the token's owner may not push there/);
    await door.logged((entry) => entry['reason'] === 'denied-by-owner' && entry['user'] === 'token:owned');
  });

  test('overwrite may be a machine’s, by a group, where its scopes allow to push', async () => {
    const put = 'PUT /v2/release/app/manifests/v1';
    assert.equal((await askAs(door, logins.robot, put)).status, 200);
    const owner = await askAs(door, ['alice', 'x'], put);
    assert.equal(owner.status, 403);
  });

  test('GET and POST /token give it a token that ends with it, and no refresh token', async () => {
    const [name, token] = logins.fetcher;
    await replaceFile(
      path.join(door.dir, 'tidegate.yml'),
      config.replace("['token:ci', ", "['token:ci', 'token:fetcher', "),
    );
    await until(
      'it may',
      async () => (await askAs(door, [name, token], manifest('team/app'))).status === 200,
    );
    const scope = 'repository:team/app:pull,push';
    const form = {
      grant_type: 'password',
      username: name,
      password: token,
      service: 'Registry',
      access_type: 'offline',
      scope,
    };
    const got = [
      tokenIn(await getToken(door, `${service}${scope}&offline_token=true`, basicOf(name, token))),
      tokenIn(await postToken(door, form)),
    ];
    for (const answer of got) {
      assert.equal(answer.scope, 'repository:team/app:pull');
      assert.equal(answer.refresh_token, undefined);
      assert.equal((await askWith(door, answer.token, manifest('team/app'))).status, 200);
      assert.equal((await askWith(door, answer.token, 'PUT /v2/team/app/manifests/1')).status, 403);
    }
    const line = await door.logged(
      (entry) => entry['route'] === 'token' && entry['user'] === 'token:fetcher',
    );
    assert.equal(line['status'], 200);
    // A user gets one.
    const alice = { ...form, username: 'alice', password: 'x' };
    assert.ok(tokenIn(await postToken(door, alice)).refresh_token);
    await tokenCommand(door, 'rotate', name);
    for (const answer of got)
      await until('it has ended', async () => {
        const response = await askWith(door, answer.token, manifest('team/app'));
        if (response.status === 401) assert.match(challengeOf(response), /error="invalid_token"/);
        return response.status === 401;
      });
    const refused = await postToken(door, form);
    assert.equal(refused.status, 400);
    assert.equal(errorCode(refused), 'UNAUTHORIZED');
  });

  test('a token that ends soon is no longer good through /token', async () => {
    const login = basicOf(...logins.brief);
    const answer = tokenIn(await getToken(door, `${service}repository:a/b:pull`, login));
    assert.ok(answer.expires_in <= 60, String(answer.expires_in));
  });

  test('an upload of one is not another’s', async () => {
    const response = await askAs(
      door,
      logins.robot,
      `PATCH /v2/release/app/blobs/uploads/${'0'.repeat(36)}?_owner=x`,
    );
    assert.equal(errorCode(response), 'BLOB_UPLOAD_UNKNOWN');
  });

  test('policy explain, test and lint know of machine tokens', async () => {
    const named = [
      '--config',
      'tidegate.yml',
      '--set',
      tokenFile,
      '--set',
      `auth.htpasswd=${door.htpasswdPath}`,
    ];
    const explain = (...args: string[]) =>
      tidegate(['policy', 'explain', ...args, ...named], { cwd: door.dir });
    const pull = await explain('token:robot', 'push', 'release/app');
    assert.equal(pull.code, 0, pull.stdout + pull.stderr);
    assert.match(pull.stdout, /rule 2 .*decides: "group:machines" means token:robot/);
    assert.match(pull.stdout, /token:robot is bounded to pull, push in \*\*/);
    const remove = await explain('token:robot', 'delete', 'release/app');
    assert.equal(remove.code, 1);
    const owned = await explain('token:owned', 'push', 'team/app');
    assert.match(owned.stdout, /no more than bob may/);
    assert.match(
      owned.stdout,
      /denied: token:owned may pull but not push team\/app \(rule 1; the token's owner may not push there\)/,
    );
    assert.match((await explain('token:nobody', 'pull', 'a')).stdout, /token:nobody cannot log in at all/);
    assert.equal((await explain('token:a:b', 'pull', 'a')).code, 2);
    writeFileSync(
      path.join(door.dir, 'table.yml'),
      '- { user: "token:robot", action: push, repository: release/app, allowed: true }\n- { user: "token:owned", action: push, repository: team/app, allowed: false }\n',
    );
    const table = await tidegate(['policy', 'test', 'table.yml', ...named], { cwd: door.dir });
    assert.equal(table.code, 0, table.stdout);
    const check = await tidegate(['config', 'check', ...named], { cwd: door.dir });
    assert.match(check.stderr, /has no rule for the machine token brief, which may do nothing/);
    assert.match(check.stderr, /The machine tokens .* never expire/);
  });
});
