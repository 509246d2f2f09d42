import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { password, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import {
  audience,
  goodClaims,
  signingKey,
  signToken,
  startIssuer,
  type Issuer,
  type Json,
} from '../support/issuer.ts';
import { askAs as askWithLogin } from '../support/machine-tokens.ts';
import { tidegate } from '../support/processes.ts';
import { clientHost, errorCode, exchange } from '../support/raw-client.ts';
import { startRealIssuer, type RealIssuer } from '../support/real-issuer.ts';
import { listenToLog, replaceConfig, sighup } from '../support/reload.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';
import { askWith, basicOf, getToken, postToken, tokenIn } from '../support/tokens.ts';
import { wholeLog } from '../support/whole-log.ts';

const acme = {
  sub: 'repo:acme/app:ref:refs/heads/main',
  repository: 'acme/app',
  repository_owner_id: '1234',
  ref: 'refs/heads/main',
  event_name: 'push',
};
const manifest = 'GET /v2/acme/app/manifests/1';
const push = 'PUT /v2/acme/app/manifests/1';

/** A request as the user `oidc` with a token as password. */
const askAs = (door: FrontDoor, token: string, request: string) =>
  askWithLogin(door, ['oidc', token], request);
const payloadOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Json;

describe('jobs of a real issuer', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let issuer: RealIssuer;
  let door: FrontDoor;
  let token = '';
  const config = (rules: string) =>
    `auth:
  tokens: on
  oidc: [{ name: ci, issuer: "${issuer.url}", audience: ${audience}, ca: "${issuer.caPath}" }]
policy:
${rules}`;
  const rules = `  - who: [{ oidc: ci, claims: { repository_owner_id: "1234", ref: "refs/heads/*", event_name: push } }]
    repositories: ["acme/**"]
    actions: [pull, push]
  - { who: [authenticated, "user:\${user}"], repositories: ["**", "\${user}/**"], actions: [pull, push] }
`;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    issuer = await startRealIssuer();
    door = await startFrontDoor({ upstreamUrl: upstream.url, config: config(rules), set: ['workers=2'] });
    token = await issuer.token(audience, acme);
  });
  after(async () => {
    await door.stop();
    await issuer.stop();
    await upstream.close();
  });

  test('log in with their token as password and as Bearer, and do what rules for their claims allow', async () => {
    for (const ask of [askAs, (...args: Parameters<typeof askAs>) => askWith(...args)]) {
      assert.equal((await ask(door, token, 'GET /v2/')).status, 200);
      assert.equal((await ask(door, token, manifest)).status, 200);
      assert.equal((await ask(door, token, push)).status, 200);
      const denied = await ask(door, token, 'DELETE /v2/acme/app/manifests/1');
      assert.equal(denied.status, 403);
      assert.match(
        denied.body.toString(),
        /job:ci acme\/app@refs\/heads\/main may pull and push but not delete/,
      );
      assert.equal(
        (await ask(door, token, 'GET /v2/other/app/manifests/1')).status,
        404,
        'no rule for users',
      );
      assert.equal((await ask(door, token, 'GET /v1/images/0123/json')).status, 403);
    }
    const logged = await door.logged(({ msg, ...line }) => msg === 'request' && line['method'] === 'PUT');
    assert.equal(logged['user'], 'job:ci acme/app@refs/heads/main');
    const audited = await door.logged(({ msg }) => msg === 'push');
    assert.equal(audited['user'], 'job:ci acme/app@refs/heads/main');
    assert.ok(
      upstream.requests.every(({ head: text }) => !text.includes(token)),
      'upstream sees no token',
    );
    assert.ok(!JSON.stringify(await wholeLog(door)).includes(token), 'the log has no token');
  });

  test('other claims, other rights, under one name', async () => {
    const other = await issuer.token(audience, { ...acme, event_name: 'pull_request_target' });
    assert.equal((await askAs(door, token, push)).status, 200);
    assert.equal((await askAs(door, other, push)).status, 401);
    assert.equal((await askAs(door, token, push)).status, 200);
    assert.equal((await askAs(door, await issuer.token(audience, { ...acme, ref: 7 }), push)).status, 401);
    const asked = getToken(door, 'service=Registry', basicOf('oidc', other));
    assert.equal((await asked).status, 401, 'no rule, no token');
    assert.equal((await askAs(door, other, 'GET /v2/')).status, 401);
    const line = await door.logged(
      (entry) => entry.msg === 'request' && entry['reason'] === 'no-rule-for-job',
    );
    assert.equal(line['user'], null);
    const named = await door.logged((entry) => entry['job'] !== undefined);
    assert.deepEqual(
      [named.msg, named['issuer'], named['reason']],
      [
        'A token of job:ci acme/app@refs/heads/main was refused: no rule of the policy is for it.',
        'ci',
        'no-rule-for-job',
      ],
    );
  });

  test('get tokens from /token that end with theirs, and no refresh token', async () => {
    const ways = [
      await getToken(
        door,
        'service=Registry&offline_token=true&scope=repository:acme/app:pull,push,delete&scope=repository:b:pull',
        basicOf('oidc', token),
      ),
      await getToken(
        door,
        'service=Registry&scope=repository:acme/app:pull,push',
        `Authorization: Bearer ${token}`,
      ),
      await postToken(door, {
        ...{ grant_type: 'password', username: 'oidc', password: token, access_type: 'offline' },
        ...{ service: 'Registry', scope: 'repository:acme/app:pull,push' },
      }),
    ];
    for (const answer of ways.map(tokenIn)) {
      assert.equal(answer.refresh_token, undefined);
      assert.equal(answer.scope, 'repository:acme/app:pull,push');
      const { exp, sub } = payloadOf(answer.token);
      assert.ok(Number(exp) <= Number(payloadOf(token)['exp']), String(exp));
      assert.equal(sub, 'job:ci acme/app@refs/heads/main');
      assert.equal((await askWith(door, answer.token, push)).status, 200);
      assert.equal((await askWith(door, answer.token, 'DELETE /v2/acme/app/manifests/1')).status, 403);
      assert.equal((await askWith(door, answer.token, 'GET /v2/b/manifests/1')).status, 404);
    }
  });

  test('a token for another audience is refused, and the log says why', async () => {
    const replayed = await issuer.token('other.example.com', acme);
    const form = { grant_type: 'password', username: 'oidc', password: replayed, service: 'Registry' };
    const statuses = [
      await askAs(door, replayed, manifest),
      await askWith(door, replayed, manifest),
      await getToken(door, 'service=Registry', basicOf('oidc', replayed)),
      await postToken(door, form),
    ].map(({ status }) => status);
    assert.deepEqual(statuses, [401, 401, 401, 400], 'as OAuth2 has it for a form');
    const line = await door.logged(
      (entry) => entry['reason'] === 'wrong-audience' && entry.msg !== 'request',
    );
    assert.equal(
      line.msg,
      `An ID token of the issuer ci was refused: it is not for the audience ${audience} alone.`,
    );
    assert.ok(!JSON.stringify(await wholeLog(door)).includes(replayed));
    await door.logged((entry) => entry.msg === 'request' && entry['reason'] === 'wrong-audience');
  });

  /** Why a request with an access token gets 401, by the log. */
  const whyRefused = async (access: string): Promise<unknown> => {
    const logged = listenToLog(door);
    assert.equal((await askWith(door, access, manifest)).status, 401);
    return (await logged((entry) => entry.msg === 'request' && entry['status'] === 401))['reason'];
  };

  test('a changed rule counts at once, for tokens of both kinds; so does an issuer that is gone', async () => {
    const { token: access } = tokenIn(
      await getToken(door, 'service=Registry&scope=repository:acme/app:pull', basicOf('oidc', token)),
    );
    await replaceConfig(door, config(rules.replace('1234', '99')));
    await sighup(door);
    assert.equal((await askAs(door, token, manifest)).status, 401);
    assert.equal(await whyRefused(access), 'no-rule-for-job');
    await replaceConfig(door, config(rules).replace(`audience: ${audience}`, 'audience: other'));
    await sighup(door);
    assert.equal(await whyRefused(access), 'invalid-token', 'the same name for another audience');
    await replaceConfig(door, 'auth: { tokens: on }\npolicy: []\n');
    await sighup(door);
    assert.equal(await whyRefused(access), 'invalid-token');
    assert.equal((await askWith(door, token, manifest)).status, 401);
    await replaceConfig(door, config(rules));
    await sighup(door);
    assert.equal((await askWith(door, access, manifest)).status, 200);
  });

  test('policy explain says what a job could do', async () => {
    const claims = path.join(door.dir, 'claims.json');
    const ask = (...args: string[]) =>
      tidegate(['policy', 'explain', '--config', 'tidegate.yml', '--oidc-claims', claims, ...args], {
        cwd: door.dir,
      });
    await writeFile(claims, JSON.stringify({ ...acme, iss: issuer.url, aud: audience }));
    const all = await ask();
    assert.deepEqual(all.stdout.split('\n').slice(0, 3), [
      'job:ci acme/app@refs/heads/main:',
      'rule 1 (tidegate.yml:5) matches "oidc:ci with repository_owner_id=1234, ref=refs/heads/*, event_name=push": pull, push in acme/**',
      'where several match a repository, the first decides',
    ]);
    assert.equal((await ask('oidc', 'push', 'acme/app:v1')).code, 0);
    assert.equal((await ask('oidc', 'delete', 'acme/app')).code, 1);
    assert.equal((await ask('alice', 'push', 'acme/app')).code, 2);
    assert.equal((await ask('oidc')).code, 2);
    await writeFile(claims, JSON.stringify({ ...acme, iss: issuer.url, aud: 'other' }));
    assert.match((await ask()).stdout, /note: such a token is refused: its aud is "other"/);
    await writeFile(claims, JSON.stringify({ ...acme, iss: 'https://evil.example' }));
    const foreign = await ask();
    assert.equal(foreign.code, 1);
    assert.match(foreign.stderr, /their iss is "https:\/\/evil\.example", and auth\.oidc has/);
  });

  test('policy test and policy replay take jobs by their claims', async () => {
    const run = (...args: string[]) =>
      tidegate(['policy', ...args, '--config', 'tidegate.yml'], { cwd: door.dir });
    const write = (name: string, content: unknown) =>
      writeFile(path.join(door.dir, name), typeof content === 'string' ? content : JSON.stringify(content));
    await mkdir(path.join(door.dir, 'tables'));
    const claims = { ...acme, iss: issuer.url, aud: audience };
    await write('main.json', claims);
    await write('tables/other.json', { ...claims, event_name: 'pull_request_target' });
    await write('elsewhere.json', { ...claims, aud: 'elsewhere' });
    const row = 'action: push, repository: acme/app';
    await write(
      'tables/jobs.yml',
      `- { user: oidc, ${row}, allowed: true }
- { user: oidc, claims: ../main.json, ${row}, allowed: true }
- { user: oidc, claims: other.json, ${row}, allowed: false }
- { user: alice, ${row}, allowed: true }
`,
    );
    const met = await run('test', 'tables/jobs.yml', '--oidc-claims', 'main.json');
    assert.deepEqual([met.code, met.stdout], [0, 'ok: 4 of 4 expectations are met\n'], met.stderr);
    const wrong = await run('test', 'tables/jobs.yml', '--oidc-claims', 'tables/other.json');
    assert.deepEqual(wrong.stdout.split('\n'), [
      'tables/jobs.yml:1: is denied and should be allowed: job:ci acme/app@refs/heads/main may do nothing in acme/app (no rule matches); no rule decides',
      '1 of 4 expectations are not met',
      '',
    ]);
    await write('tables/user.yml', `- { user: alice, claims: main.json, ${row}, allowed: true }\n`);
    const user = await run('test', 'tables/user.yml');
    assert.equal(user.code, 1);
    assert.match(user.stderr, /claims: "main\.json" is not allowed; allowed: .* where the user is oidc/);

    const text = 'job:ci acme/app@refs/heads/main';
    const lines = (await wholeLog(door)).filter((line) => line.msg === 'request' && line['user'] === text);
    await write('access.log', lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const unknown = await run('replay', 'access.log');
    assert.match(unknown.stdout, /^not judged: \d+, since no --oidc-claims are of its job$/m);
    const same = await run('replay', 'access.log', '--oidc-claims', 'main.json');
    assert.deepEqual([same.code, same.stderr], [0, '']);
    assert.doesNotMatch(same.stdout, /no --oidc-claims/);
    const other = await run('replay', 'access.log', '--oidc-claims', 'tables/other.json');
    assert.equal(other.code, 1);
    assert.match(other.stdout, /^ {2}\d+ +job:ci acme\/app@refs\/heads\/main +push +acme\/app +no rule$/m);
    const twice = await run(
      'replay',
      'access.log',
      ...['main', 'elsewhere'].flatMap((name) => ['--oidc-claims', `${name}.json`]),
    );
    assert.equal(twice.code, 1);
    assert.match(
      twice.stderr,
      /^The claims elsewhere\.json are of job:ci acme\/app@refs\/heads\/main, as others are/,
    );
    const foreign = await run('replay', 'access.log', '--oidc-claims', 'elsewhere.json');
    assert.match(foreign.stdout, /^note: such a token is refused: its aud is "elsewhere"/);
  });
});

describe('tokens that are wrong', { timeout: 240_000 }, () => {
  const key = signingKey('one');
  const foreign = signingKey('two');
  let upstream: ScriptedUpstream;
  let issuer: Issuer;
  let other: Issuer;
  let door: FrontDoor;
  const start = (...set: string[]) =>
    startFrontDoor({
      upstreamUrl: upstream.url,
      set,
      config: `auth:
  oidc:
    - { name: ci, issuer: "${issuer.url}", audience: ${audience}, ca: "${issuer.caPath}" }
    - { name: other, issuer: "${other.url}", audience: ${audience}, ca: "${other.caPath}" }
policy:
  - { who: [{ oidc: ci, claims: { repository: "acme/*" } }], repositories: ["**"], actions: [pull, push] }
  - { who: [authenticated], repositories: ["**"], actions: [pull] }
`,
    });
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    issuer = await startIssuer([key]);
    other = await startIssuer([foreign]);
    door = await start('auth.throttle.addressFailures=0', 'auth.throttle.repeatFailures=0');
  });
  after(async () => {
    await door.stop();
    await issuer.stop();
    await other.stop();
    await upstream.close();
  });
  const claimsOf = (claims: Json = {}) =>
    goodClaims(issuer.url, { repository: 'acme/app', ref: 'main', ...claims });
  const make = (claims: Json = {}, header: Json = {}, by = key) => signToken(by, claimsOf(claims), header);
  const now = () => Math.floor(Date.now() / 1000);

  test('get 401 whatever is wrong, and reach neither the registry nor the htpasswd file', async () => {
    assert.equal((await askAs(door, make(), push)).status, 200);
    const seen = upstream.requests.length;
    const cases: readonly [reason: string, token: string][] = [
      ['malformed-id-token', make({}, { alg: 'none' })],
      ['malformed-id-token', make({}, { alg: 'none' }).replace(/[^.]*$/, '')],
      ['malformed-id-token', make({}, { alg: 'HS256' })],
      ['wrong-signature', make({}, { alg: 'ES256' })],
      ['wrong-signature', make({}, { kid: 'one' }, foreign)],
      ['wrong-signature', make({}, { kid: 'one', jwk: foreign.jwk }, foreign)],
      ['wrong-audience', make({ aud: 'other' })],
      ['wrong-audience', make({ aud: [audience, 'other'] })],
      ['unknown-issuer', make({ iss: 'https://evil.example' })],
      ['expired-id-token', make({ exp: now() - 100 })],
      ['early-id-token', make({ nbf: now() + 100 })],
      ['malformed-id-token', make({ more: 'x'.repeat(5000) })],
    ];
    for (const [reason, token] of cases) {
      const from = door.log.length;
      const answer = await askAs(door, token, push);
      assert.deepEqual([answer.status, errorCode(answer)], [401, 'UNAUTHORIZED'], reason);
      const line = await door.logged(
        (entry) => entry.msg === 'request' && door.log.indexOf(entry) >= from && entry['status'] === 401,
      );
      assert.deepEqual([line['reason'], line['user']], [reason, null]);
    }
    const huge = await askAs(door, make({ list: ['x'.repeat(12_000)] }), push);
    assert.equal(huge.status, 401);
    assert.equal(upstream.requests.length, seen);
    const line = await door.logged(
      (entry) => entry['reason'] === 'expired-id-token' && entry.msg !== 'request',
    );
    assert.match(line.msg, /^An ID token of the issuer ci was refused: it expired 1\d\d seconds ago\.$/);
  });

  test('that have just expired are still good, but get no token, and are told why', async () => {
    const giving = await start('auth.tokens=on');
    try {
      const token = make({ exp: now() - 5 });
      assert.equal((await askAs(giving, token, manifest)).status, 200);
      const answer = await getToken(giving, 'service=Registry', basicOf('oidc', token));
      assert.equal(answer.status, 401);
      assert.match(answer.body.toString(), /The ID token has expired/);
    } finally {
      await giving.stop();
    }
  });

  test('get 503 for a key that may have been published since the last fetch', async () => {
    assert.equal((await askAs(door, make(), manifest)).status, 200);
    await askAs(door, make({}, { kid: 'two' }, foreign), push);
    const answer = await askAs(door, make({}, { kid: 'two' }, foreign), push);
    assert.deepEqual([answer.status, errorCode(answer)], [503, 'UNAVAILABLE']);
    assert.deepEqual(values(answer, 'retry-after'), ['10']);
  });

  test('of an issuer that was never there get 503, which counts as nothing', async () => {
    other.respond = (_, res) => res.writeHead(500).end();
    const strict = await start('auth.throttle.addressFailures=2');
    try {
      const token = signToken(foreign, goodClaims(other.url, { repository: 'acme/app' }));
      for (let i = 0; i < 5; i += 1) {
        const answer = await askAs(strict, token, manifest);
        assert.deepEqual([answer.status, errorCode(answer)], [503, 'UNAVAILABLE']);
        assert.deepEqual(values(answer, 'retry-after'), ['10']);
      }
      const wrong = await exchange(
        strict,
        head(`${manifest} HTTP/1.1`, `Host: ${clientHost}`, basicOf('nobody', 'x')),
      );
      assert.equal(wrong.status, 401, 'no lock-out');
      const line = await strict.logged((entry) => entry['issuer'] === 'other');
      assert.match(
        line.msg,
        /^The keys of the issuer other cannot be fetched: .* it answered 500\. Its tokens get 503/,
      );
    } finally {
      other.respond = null;
      await strict.stop();
    }
  });

  test('lock out their address, but no valid token there; only a wrong signature counts', async () => {
    const strict = await start('auth.throttle.addressFailures=3', 'auth.throttle.answerDelay=0');
    try {
      for (let i = 0; i < 6; i += 1)
        for (const claims of [
          { exp: now() - 100 - i },
          { aud: `other-${i}` },
          { nbf: now() + 100 + i },
          { iss: `https://${i}.example` },
          { repository: `stranger/${i}` },
        ])
          assert.equal((await askAs(strict, make(claims), manifest)).status, 401);
      for (let i = 0; i < 3; i += 1)
        assert.equal(
          (await askAs(strict, make({ jti: `${i}` }, { kid: 'one' }, foreign), manifest)).status,
          401,
        );
      assert.equal((await askAs(strict, make({}, { kid: 'one' }, foreign), manifest)).status, 429);
      const guess = await exchange(
        strict,
        head(`${manifest} HTTP/1.1`, `Host: ${clientHost}`, basicOf(user, `not ${password}`)),
      );
      assert.equal(guess.status, 429);
      assert.equal((await askAs(strict, make(), manifest)).status, 200);
    } finally {
      await strict.stop();
    }
  });

  test('keys outlive a reload while the issuer is away', async () => {
    assert.equal((await askAs(door, make(), manifest)).status, 200);
    issuer.respond = (_, res) => res.destroy();
    try {
      const { length } = issuer.requests;
      await replaceConfig(
        door,
        `auth:\n  oidc: [{ name: ci, issuer: "${issuer.url}", audience: ${audience}, ca: "${issuer.caPath}" }]\npolicy:\n  - { who: [{ oidc: ci, claims: { ref: main } }], repositories: ["**"], actions: [pull] }\n`,
      );
      await sighup(door);
      assert.equal((await askAs(door, make(), manifest)).status, 200);
      assert.equal((await askAs(door, make(), push)).status, 403, 'by the new rules');
      assert.equal(issuer.requests.length, length);
    } finally {
      issuer.respond = null;
    }
  });
});
