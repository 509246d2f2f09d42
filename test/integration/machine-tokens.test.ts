import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createMachineToken, hashMachineToken } from '../../src/auth/machine-tokens/machine-token.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { askAs, tokenCommand, tokenFile, untilStatus } from '../support/machine-tokens.ts';
import { tidegate } from '../support/processes.ts';
import { clientHost, errorCode, exchange, type RawClient } from '../support/raw-client.ts';
import { until } from '../support/redis.ts';
import { replaceFile } from '../support/reload.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';
import { askWith, basicOf, challengeOf, getToken, postToken, tokenIn } from '../support/tokens.ts';
import { connectToWorker, workerPids } from '../support/workers.ts';

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

/** Tests that wait for a change ask again and again. */
const patient = ['auth.throttle.addressFailures=100000', 'auth.throttle.repeatFailures=100000'];

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

describe('machine tokens without a policy', { timeout: 120_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  before(async () => {
    upstream = await startListingUpstream();
    door = await startFrontDoor({
      upstreamUrl: upstream.url,
      htpasswd,
      set: [tokenFile, ...patient],
    });
  });
  after(async () => {
    await door.stop();
    await upstream.close();
  });
  const make = async (name: string, ...args: string[]): Promise<readonly [string, string]> => {
    const login = [name, await tokenCommand(door, 'create', name, ...args)] as const;
    await untilStatus(door, login, 'GET /v2/', 200);
    return login;
  };

  test('their scopes alone bound them: what they name is allowed, and nothing else', async () => {
    const login = await make('ci', '--repositories', 'team/**,base/*', '--actions', 'pull,push');
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
    const names = async (login: readonly [string, string]) =>
      (
        JSON.parse((await askAs(door, login, 'GET /v2/_catalog')).body.toString()) as {
          repositories: string[];
        }
      ).repositories;
    assert.deepEqual(await names(await make('lister', '--repositories', 'team/*')), ['team/app', 'team/b']);
    assert.deepEqual(await names(await make('pusher', '--actions', 'push')), []);
    assert.deepEqual(await names(await make('reader')), ['base/x', 'other/app', 'team/app', 'team/b']);
    assert.deepEqual(await names(['alice', 'x']), ['base/x', 'other/app', 'team/app', 'team/b']);
  });

  test('a mount needs pull on its source', async () => {
    const login = await make('mounter', '--repositories', 'team/**', '--actions', 'pull,push');
    for (const [from, query] of [
      ['team/b', `?mount=${digest}&from=team/b`],
      ['other/app', ''],
    ] as const) {
      await askAs(door, login, `POST /v2/team/app/blobs/uploads/?mount=${digest}&from=${from}`);
      assert.equal(upstream.requests.at(-1)?.startLine, `POST /v2/team/app/blobs/uploads/${query} HTTP/1.1`);
    }
  });

  test('they get no token of the first protocol from upstream, and users do', async () => {
    const login = await make('first');
    for (const [name, value] of v1Token) {
      const request = 'GET /v2/v1/tokens/manifests/1';
      assert.deepEqual(values(await askAs(door, login, request), name), []);
      assert.deepEqual(values(await askAs(door, ['alice', 'x'], request), name), [value]);
    }
  });

  test('one with an owner ends with the owner', async () => {
    const login = await make('owned', '--user', 'bob');
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
    const login = await make('counted', '--actions', 'push');
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
    const audit = await door.logged((entry) => entry.msg === 'push' && entry['user'] === 'token:counted');
    assert.equal(audit['repository'], 'team/app');
    const text = JSON.stringify(door.log);
    assert.ok(!text.includes(login[1]));
    assert.ok(!text.includes(hashMachineToken(login[1])));
    assert.doesNotMatch(text, /tidegate_[0-9A-Za-z]{20}/);
  });
});

describe('machine tokens of two workers', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    door = await startFrontDoor({
      upstreamUrl: upstream.url,
      htpasswd,
      set: [tokenFile, ...patient, 'workers=2', 'auth.versionCheck=challenge'],
    });
  });
  after(async () => {
    await door.stop();
    await upstream.close();
  });

  test('the day and the address of the last use are kept', async () => {
    const login = ['used', await tokenCommand(door, 'create', 'used')] as const;
    await untilStatus(door, login, 'GET /v2/', 200);
    await until('it is written', async () =>
      /^used .* \d{4}-\d\d-\d\d from 127\.0\.0\.1$/m.test(await tokenCommand(door, 'list')),
    );
  });

  test('all workers hear of a revocation, a rotation, and of a file that goes, within a second', async () => {
    const name = 'moving';
    const unused = await tokenCommand(door, 'create', 'unused');
    const token = await tokenCommand(door, 'create', name);
    const clients: RawClient[] = [];
    for (const pid of await workerPids(door)) clients.push(await connectToWorker(door, pid));
    assert.equal(clients.length, 2);
    const request = head('GET /v2/a/tags/list HTTP/1.1', `Host: ${clientHost}`, basicOf(name, token));
    const statuses = async () => {
      const all: number[] = [];
      for (const client of clients) {
        client.send(request);
        all.push((await client.response()).status);
      }
      return all.join();
    };
    await until('both take it', async () => (await statuses()) === '200,200');
    const file = path.join(door.dir, 'tokens.yml');
    const text = readFileSync(file, 'utf8');
    for (const change of [
      () => tokenCommand(door, 'revoke', name),
      () => replaceFile(file, text),
      () => tokenCommand(door, 'rotate', name),
      () => replaceFile(file, text),
      () => rm(file),
      () => replaceFile(file, text),
      // By hand, and wrong: that entry never matches, and all others do.
      () => replaceFile(file, text.replace(/("name":"moving".*)"pull"/, '$1"fly"')),
    ]) {
      const before = (await statuses()).startsWith('200');
      await change();
      await until('both have heard', async () => (await statuses()) === (before ? '401,401' : '200,200'));
    }
    assert.match(
      (await door.logged(({ msg }) => msg.includes('entries that never match'))).msg,
      /tokens\.yml has entries that never match: line \d+: its actions are no list of pull, push, delete\./,
    );
    await replaceFile(file, text.replace(/.*"name":"unused".*\n/, ''));
    await until('both take it', async () => (await statuses()) === '200,200');
    // The name of one that has gone is still logged, at its first use: a repeat is logged no more.
    clients[0]?.send(head('GET /v2/a/tags/list HTTP/1.1', `Host: ${clientHost}`, basicOf('unused', unused)));
    assert.equal((await clients[0]?.response())?.status, 401);
    await door.logged((entry) => entry['reason'] === 'unknown-machine-token' && entry['token'] === 'unused');
    await replaceFile(file, text);
    // A file that cannot be read as a whole keeps what was read last, as the htpasswd file does.
    await replaceFile(file, `${text}- {\n`);
    assert.match(
      (await door.logged(({ msg }) => msg.includes('cannot be used'))).msg,
      /\(line \d+: .*\): the machine tokens that were read last stay in effect\.$/,
    );
    assert.equal(await statuses(), '200,200');
    await replaceFile(file, text);
    for (const client of clients) client.leave();
  });
});

describe('machine tokens that are wrong', { timeout: 60_000 }, () => {
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

describe('machine tokens under a policy, and with tokens from /token', { timeout: 60_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  const config = `
auth: { tokens: on, tokenKeys: [token.key] }
groups: { machines: ['token:robot'] }
policy:
  - { who: ['token:ci', 'user:alice'], repositories: ['team/**'], actions: [pull, push] }
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
  });
  after(async () => {
    await door.stop();
    await upstream.close();
  });
  const make = async (name: string, ...args: string[]): Promise<readonly [string, string]> => {
    const login = [name, await tokenCommand(door, 'create', name, ...args)] as const;
    await untilStatus(door, login, 'GET /v2/', 200);
    return login;
  };
  const service = 'service=Registry&scope=';

  test('a token may what both its scopes and the policy allow, and no more than its owner', async () => {
    const ci = await make('ci', '--repositories', 'team/a*,release/**', '--actions', 'pull,push,delete');
    await tokenCommand(door, 'rotate', 'ci');
    await untilStatus(door, ci, 'GET /v2/', 401);
    await tokenCommand(door, 'revoke', 'ci');
    const again = await make('ci', '--repositories', 'team/a*,release/**', '--actions', 'pull,push,delete');
    for (const [request, status] of [
      [manifest('team/app'), 200],
      ['PUT /v2/team/app/manifests/1', 200],
      [`DELETE /v2/team/app/manifests/${digest}`, 403], // the policy
      [manifest('team/b'), 404], // its scopes
      [manifest('release/app'), 404], // the policy: "authenticated" means users
    ] as const)
      assert.equal((await askAs(door, again, request)).status, status, request);
    await tokenCommand(door, 'revoke', 'ci');
    const owned = await make('ci', '--actions', 'pull,push', '--user', 'bob');
    assert.equal((await askAs(door, owned, manifest('team/app'))).status, 200);
    const denied = await askAs(door, owned, 'PUT /v2/team/app/manifests/1');
    assert.equal(denied.status, 403);
    assert.match(denied.body.toString(), /the token's owner may not push there/);
    await door.logged((entry) => entry['reason'] === 'denied-by-owner' && entry['user'] === 'token:ci');
  });

  test('overwrite may be a machine’s, by a group, where its scopes allow to push', async () => {
    const robot = await make('robot', '--actions', 'push,pull');
    const put = 'PUT /v2/release/app/manifests/v1';
    assert.equal((await askAs(door, robot, put)).status, 200);
    const owner = await askAs(door, ['alice', 'x'], put);
    assert.equal(owner.status, 403);
  });

  test('GET and POST /token give it a token that ends with it, and no refresh token', async () => {
    const [name, token] = await make('fetcher');
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
    const [name, token] = await make('brief', '--expires', '1m');
    const answer = tokenIn(await getToken(door, `${service}repository:a/b:pull`, basicOf(name, token)));
    assert.ok(answer.expires_in <= 60, String(answer.expires_in));
  });

  test('an upload of one is not another’s', async () => {
    const robot = ['robot', await tokenCommand(door, 'rotate', 'robot')] as const;
    await untilStatus(door, robot, 'GET /v2/', 200);
    const response = await askAs(
      door,
      robot,
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
    const ci = await explain('token:ci', 'push', 'team/app');
    assert.match(ci.stdout, /no more than bob may/);
    assert.match(
      ci.stdout,
      /denied: token:ci may pull but not push team\/app \(rule 1; the token's owner may not push there\)/,
    );
    assert.match((await explain('token:nobody', 'pull', 'a')).stdout, /token:nobody cannot log in at all/);
    assert.equal((await explain('token:a:b', 'pull', 'a')).code, 2);
    writeFileSync(
      path.join(door.dir, 'table.yml'),
      '- { user: "token:robot", action: push, repository: release/app, allowed: true }\n- { user: "token:ci", action: push, repository: team/app, allowed: false }\n',
    );
    const table = await tidegate(['policy', 'test', 'table.yml', ...named], { cwd: door.dir });
    assert.equal(table.code, 0, table.stdout);
    const check = await tidegate(['config', 'check', ...named], { cwd: door.dir });
    assert.match(check.stderr, /has no rule for the machine token brief, which may do nothing/);
    assert.match(check.stderr, /The machine tokens .* never expire/);
  });
});
