import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  draftToken,
  hash,
  makeToken,
  oldHash,
  secrets,
  service,
  userPassword,
  users,
} from '../support/cases/token-draft.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { audience, goodClaims, signingKey, signToken, startIssuer } from '../support/issuer.ts';
import { addTokens, tokenCommand, tokenFile } from '../support/machine-tokens.ts';
import { clientHost, errorCode, exchange, type Response } from '../support/raw-client.ts';
import { until } from '../support/redis.ts';
import { listenToLog, replaceConfig, replaceFile, sighup } from '../support/reload.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';
import { basicOf, getToken, tokenIn } from '../support/tokens.ts';
import { wholeLog } from '../support/whole-log.ts';

const [secret = ''] = secrets;
const htpasswd = users.map((name) => `${name}:${hash}\n`).join('');
const uploads = '/v2/team/app/blobs/uploads/';

/** Seconds by which a token is good after its end; so many are left of one that has just been made. */
const tolerance = 30;
const lifeS = 4;

type TokenOptions = {
  /** Seconds until it is refused; below 0: it is already. */
  readonly leftS?: number;
  readonly id?: string;
  readonly scopes?: readonly object[];
  /** What a token from /token says of a machine token or a job. */
  readonly subject?: Readonly<Record<string, unknown>>;
};
const pushScope = `service=${service}&scope=repository:team/app:pull,push`;
const pushes = [{ type: 'repository', name: 'team/app', actions: ['pull', 'push'] }];

/** A token as /token gives it, but for how long. */
function tokenOf(who: string | null, options: TokenOptions = {}): string {
  const { leftS = 300, id = randomUUID(), scopes = pushes, subject } = options;
  const draft = draftToken('access', who, secret, scopes as Record<string, unknown>[]);
  const end = Math.floor(Date.now() / 1000) - tolerance + leftS;
  Object.assign(draft.claims, { iat: end - 300, nbf: end - 300, exp: end, jti: id });
  Object.assign(draft.claims, subject);
  return makeToken(draft);
}

/** What a token from /token says of whom it is for; it carries what proves that they are the same. */
function subjectOf(token: string): { sub: string; line: string; job?: object } {
  const { sub, line, job } = JSON.parse(
    Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
  ) as ReturnType<typeof subjectOf>;
  return { sub, line, ...(job && { job }) };
}

/** One and the same token before and after its end. */
function twins(who: string | null, options: TokenOptions = {}): { good: string; expired: string } {
  const id = randomUUID();
  return {
    good: tokenOf(who, { ...options, id }),
    expired: tokenOf(who, { ...options, id, leftS: -1 }),
  };
}

const bearer = (token: string) => `Authorization: Bearer ${token}`;
const alice = basicOf('alice', userPassword);

function send(door: FrontDoor, credentials: string, request: string, body = ''): Promise<Response> {
  const length = /^(?:GET|HEAD)/.test(request) ? [] : [`Content-Length: ${body.length}`];
  return exchange(door, head(`${request} HTTP/1.1`, `Host: ${clientHost}`, credentials, ...length), body);
}

/** Where an answer leads, as path and query. */
function follow(response: Response): string {
  const [location = '', ...others] = values(response, 'location');
  assert.deepEqual(others, []);
  return location.replace(`https://${clientHost}`, '');
}

const markOf = (target: string) => /[?&]_owner=([\w-]+)/.exec(target)?.[1];

async function begin(door: FrontDoor, credentials: string): Promise<string> {
  const begun = await send(door, credentials, `POST ${uploads}`);
  assert.equal(begun.status, 202, begun.body.toString());
  return follow(begun);
}

const parts = ['the first part, ', 'the second, ', 'and the last'];
const bytes = parts.join('');
const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const withDigest = (target: string) => target.replace(/\?|$/, `?digest=${encodeURIComponent(digest)}&`);

function isRefused(response: Response, what: string): void {
  assert.equal(response.status, 401, what);
  const [challenge = ''] = values(response, 'www-authenticate');
  assert.match(challenge, /^Bearer .*,error="invalid_token"$/, what);
}

const rules = (who: string, actions = '[pull, push]') =>
  `policy: [{ who: [${who}], repositories: ["team/**"], actions: ${actions} }]\n`;
const configs = {
  'without a policy': '',
  'under a policy': rules('authenticated, anonymous'),
};

for (const [where, policy] of Object.entries(configs)) {
  describe(
    `an upload that outlasts its token, ${where}`,
    { skip: unlessInstalled('docker-registry'), timeout: 480_000 },
    () => {
      let registry: Registry;
      let door: FrontDoor;
      let dir: string;
      let early: { readonly token: string; readonly session: string };
      const configOf = (auth = '', rest = policy) =>
        `workers: 2\nauth: { tokens: on, tokenKeys: [${dir}/token.key]${auth} }\n${rest}`;
      const set = ['workers=2', tokenFile];
      const reload = async (config: string) => {
        await replaceConfig(door, config);
        assert.equal((await sighup(door)).msg, 'reloaded');
      };
      before(async () => {
        dir = await mkdtemp(path.join(tmpdir(), 'tidegate-grace-'));
        await writeFile(path.join(dir, 'token.key'), secret, { mode: 0o600 });
        registry = await startRegistry();
        door = await startFrontDoor({ upstreamUrl: registry.url, htpasswd, config: configOf(), set });
        const token = tokenOf('alice', { leftS: lifeS });
        early = { token, session: await begin(door, bearer(token)) };
      });
      after(async () => {
        await door.stop();
        await registry.stop();
        await rm(dir, { recursive: true });
      });
      const ask = (token: string, request: string, body?: string) => send(door, bearer(token), request, body);
      /** An upload that a token began that has expired. */
      const beginExpired = async (who: string | null = 'alice', options: TokenOptions = {}) => {
        const { good, expired } = twins(who, options);
        return { session: await begin(door, bearer(good)), good, expired };
      };
      /** Fails unless the session goes on with the token, to its end. */
      const finish = async (session: string, token: string, credentials = bearer(token)) => {
        const patched = await send(door, credentials, `PATCH ${session}`, bytes);
        assert.equal(patched.status, 202, patched.body.toString());
        const put = await send(door, credentials, `PUT ${withDigest(follow(patched))}`);
        assert.equal(put.status, 201, put.body.toString());
      };
      /** Goes on until it is refused. Each answer gives a new mark, and none a new start; gives the last Location. */
      const untilRefused = async (what: string, session: string, token: string): Promise<string> => {
        let location = session;
        await until(what, async () => {
          const patched = await ask(token, `PATCH ${location}`, 'x');
          if (patched.status === 202) location = follow(patched);
          else isRefused(patched, what);
          return patched.status === 401;
        });
        return location;
      };

      test('nothing else is answered: no other method, session, manifest or list', async () => {
        const { session, expired } = await beginExpired();
        const { session: another } = await beginExpired();
        const manifest = '/v2/team/app/manifests/1';
        for (const request of [
          ...['HEAD', 'DELETE', 'POST'].map((method) => `${method} ${session}`),
          ...['PATCH', 'PUT', 'GET'].map((method) => `${method} ${another}`),
          ...[`POST ${uploads}`, `PUT ${manifest}`, `GET ${manifest}`, `DELETE ${manifest}`],
          ...[`POST ${session.replace(/^[^?]*/, uploads)}`, `PUT ${session.replace(/^[^?]*/, manifest)}`],
          ...['GET /v2/', 'GET /v2/_catalog', `GET /v2/team/app/blobs/${digest}`, 'GET /'],
        ])
          assert.equal((await ask(expired, request)).status, 401, request);
        assert.equal((await ask(expired, 'GET /token?service=Registry')).status, 401);
        await finish(session, expired);
      });

      test('no other token is taken, whoever it is of', async () => {
        const { session, good, expired } = await beginExpired();
        const others = await beginExpired('bob');
        const own = await beginExpired();
        for (const [what, token] of [
          ['another user’s', others.expired],
          ['one that began another upload of the user', own.expired],
          ['one that was never used', tokenOf('alice', { leftS: -1 })],
          ['an anonymous one', tokenOf(null, { leftS: -1 })],
        ] as const) {
          isRefused(await ask(token, `PATCH ${session}`, 'x'), what);
          isRefused(await ask(token, `PUT ${withDigest(session)}`, bytes), what);
          isRefused(await ask(token, `GET ${session}`), what);
        }
        // A good one goes on, and takes nothing from the one that began.
        const renewed = await ask(tokenOf('alice'), `PATCH ${session}`, parts[0]);
        assert.equal(renewed.status, 202);
        const patched = await ask(expired, `PATCH ${follow(renewed)}`, parts[1]);
        assert.equal(patched.status, 202);
        const put = await ask(good, `PUT ${withDigest(follow(patched))}`, parts[2]);
        assert.equal(put.status, 201);
      });

      test('no other mark is taken', async () => {
        const { session, expired } = await beginExpired();
        const { session: another } = await beginExpired();
        const [field = ''] = /_owner=[\w-]+/.exec(session) ?? [];
        const changed = (at: number) => {
          const mark = Buffer.from(field.slice('_owner='.length), 'base64url');
          mark[at] = (mark[at] ?? 0) ^ 1;
          return `_owner=${mark.toString('base64url')}`;
        };
        for (const [what, target] of [
          ['none', session.replace(/[?&]_owner=[\w-]+/, '')],
          ['an empty one', session.replace(field, '_owner=')],
          ['twice', `${session}&${field}`],
          ['another start', session.replace(field, changed(3))],
          ['another token', session.replace(field, changed(4))],
          ['another signature', session.replace(field, changed(35))],
          ['that of another session', another.replace(/_owner=[\w-]+/, field)],
        ] as const)
          isRefused(await ask(expired, `PATCH ${target}`, 'x'), what);
        await finish(session, expired);
      });

      test('a token that allows less, or is not ours, is no better here than elsewhere', async () => {
        const id = randomUUID();
        const session = await begin(door, bearer(tokenOf('alice', { id })));
        const pulls = [{ type: 'repository', name: 'team/app', actions: ['pull'] }];
        const lesser = await ask(tokenOf('alice', { id, scopes: pulls, leftS: -1 }), `PATCH ${session}`, 'x');
        assert.equal(lesser.status, 401);
        const draft = draftToken('access', 'alice', secret, pushes);
        Object.assign(draft.claims, { jti: id, exp: 1, nbf: 0, iat: 0 });
        for (const claim of [
          { aud: 'Other' },
          { iss: 'other' },
          { sub: 'bob' },
          { line: 'x' },
          { nbf: 1e10 },
        ]) {
          const forged = makeToken({ ...draft, claims: { ...draft.claims, ...claim } });
          isRefused(await ask(forged, `PATCH ${session}`, 'x'), JSON.stringify(claim));
        }
        isRefused(await ask(makeToken({ ...draft, key: 'another' }), `PATCH ${session}`, 'x'), 'key');
        await finish(session, makeToken(draft));
      });

      test('it ends with the user, and with the password, at once', async () => {
        const { session, expired } = await beginExpired();
        for (const content of [
          htpasswd.replace(`alice:${hash}`, `alice:${oldHash}`),
          htpasswd.replace(/alice:.*\n/, ''),
        ]) {
          await replaceFile(door.htpasswdPath, content);
          await sighup(door);
          isRefused(await ask(expired, `PATCH ${session}`, 'x'), content);
        }
        await replaceFile(door.htpasswdPath, htpasswd);
        await sighup(door);
        await finish(session, expired);
      });

      test('it ends with the right to push, at once', async () => {
        const { session, expired } = await beginExpired();
        await reload(configOf('', rules('authenticated', '[pull]')));
        const refused = await ask(expired, `PATCH ${session}`, 'x');
        assert.deepEqual([refused.status, errorCode(refused)], [403, 'DENIED']);
        await reload(configOf('', rules('"user:bob"')));
        assert.equal((await ask(expired, `PATCH ${session}`, 'x')).status, 404);
        await reload(configOf());
        await finish(session, expired);
      });

      test('it ends with the machine token behind it', async () => {
        const { ci } = await addTokens(door, {
          ci: { repositories: ['team/**'], actions: ['pull', 'push'] },
        });
        // Both workers read the file of tokens, too.
        await reload(configOf('', policy && rules('authenticated, anonymous, "token:ci"')));
        const { token } = tokenIn(await getToken(door, pushScope, basicOf(...ci)));
        const subject = subjectOf(token);
        assert.equal(subject.sub, 'token:ci');
        const { session, expired } = await beginExpired('ci', { subject });
        const patched = await ask(expired, `PATCH ${session}`, bytes);
        assert.equal(patched.status, 202, patched.body.toString());
        const isOwn = await ask(twins('alice').expired, `PATCH ${session}`, 'x');
        isRefused(isOwn, 'its owner');
        await tokenCommand(door, 'revoke', 'ci');
        await untilRefused('it is revoked', follow(patched), expired);
        await reload(configOf());
      });

      test('it ends in time, counted from its start', async () => {
        const { session, expired } = await beginExpired();
        await reload(configOf(', uploadGrace: 1s'));
        const location = await untilRefused('it is over', session, expired);
        await reload(configOf());
        assert.equal((await ask(expired, `PATCH ${location}`, 'x')).status, 202);
      });

      test('0 turns it off, and what is under way goes on with good tokens', async () => {
        const { session, good, expired } = await beginExpired();
        await reload(configOf(', uploadGrace: 0'));
        isRefused(await ask(expired, `PATCH ${session}`, 'x'), 'an older upload');
        await finish(session, good);
        const later = await beginExpired();
        isRefused(await ask(later.expired, `PATCH ${later.session}`, 'x'), 'a later upload');
        assert.equal(later.session.includes('_owner='), policy !== '');
        await finish(later.session, later.good);
        await reload(configOf());
      });

      test('name and password are as ever', async () => {
        const { session, expired } = await beginExpired();
        await finish(session, '', alice);
        const own = await begin(door, alice);
        assert.equal(own.includes('_owner='), policy !== '');
        isRefused(await ask(expired, `PATCH ${own}`, 'x'), 'begun with a password');
        await finish(own, '', alice);
      });

      test('it goes on at another instance with the same key, and after a restart, and not with another key', async () => {
        const { session, expired } = await beginExpired();
        const config = configOf();
        const other = await startFrontDoor({ upstreamUrl: registry.url, htpasswd, config });
        try {
          const patched = await send(other, bearer(expired), `PATCH ${session}`, parts[0]);
          assert.equal(patched.status, 202, patched.body.toString());
          await replaceFile(path.join(dir, 'token.key'), `${secret}, another`);
          await sighup(door);
          isRefused(await ask(expired, `PATCH ${follow(patched)}`, 'x'), 'another key');
        } finally {
          await replaceFile(path.join(dir, 'token.key'), secret);
          await sighup(door);
          await other.stop();
        }
      });

      test('neither token nor mark is in the log', async () => {
        const { session, expired } = await beginExpired();
        await finish(session, expired);
        const text = JSON.stringify(await wholeLog(door));
        assert.ok(!text.includes('_owner'));
        assert.ok(!text.includes(expired.split('.')[2] ?? ''));
      });

      if (policy !== '')
        test('who does not say who they are may go on with their token, too', async () => {
          const { session, expired } = await beginExpired(null);
          const own = await beginExpired('alice');
          isRefused(await ask(expired, `PATCH ${own.session}`, 'x'), 'alice’s');
          isRefused(await ask(own.expired, `PATCH ${session}`, 'x'), 'nobody’s');
          await finish(session, expired);
        });

      if (policy !== '')
        test('that of a job goes on after its ID token, and ends with its rule and its issuer', async () => {
          const key = signingKey('one');
          const issuer = await startIssuer([key]);
          try {
            const oidc = `{ name: ci, issuer: "${issuer.url}", audience: ${audience}, ca: "${issuer.caPath}" }`;
            const trusting = `, oidc: [${oidc}]`;
            const rule = (ref: string) => rules(`{ oidc: ci, claims: { ref: ${ref} } }`);
            await reload(configOf(trusting, rule('main')));
            const claims = { repository: 'acme/app', ref: 'main' };
            const idToken = signToken(key, goodClaims(issuer.url, claims));
            const { token } = tokenIn(await getToken(door, pushScope, basicOf('oidc', idToken)));
            const subject = subjectOf(token);
            const id = randomUUID();
            const session = await begin(door, bearer(tokenOf('ci', { id, subject })));
            // The ID token ended an hour ago, and so did the access token, which never outlives it.
            const expired = tokenOf('ci', { id, subject, leftS: -3600 });
            isRefused(await ask(expired, 'GET /v2/team/app/tags/list'), 'another request');
            const patched = await ask(expired, `PATCH ${session}`, bytes);
            assert.equal(patched.status, 202, patched.body.toString());
            const location = follow(patched);
            await reload(configOf(trusting, rule('release')));
            const logged = listenToLog(door);
            assert.equal((await ask(expired, `PATCH ${location}`, 'x')).status, 401);
            const line = await logged(({ job }) => job !== undefined);
            assert.deepEqual([line['job'], line['reason']], ['job:ci acme/app@main', 'no-rule-for-job']);
            await reload(configOf());
            isRefused(await ask(expired, `PATCH ${location}`, 'x'), 'its issuer is gone');
          } finally {
            await issuer.stop();
            await reload(configOf());
          }
        });

      // The last: its token expires while the others run.
      test('goes on for a client that renews its token only before it begins', async () => {
        const { token } = early;
        let { session } = early;
        const mark = markOf(session);
        await until('the token has expired', async () => {
          const { status } = await ask(token, 'GET /v2/team/app/tags/list');
          assert.ok(status === 404 || status === 401);
          return status === 401;
        });
        for (const part of parts) {
          const patched = await ask(token, `PATCH ${session}`, part);
          assert.equal(patched.status, 202, patched.body.toString());
          const status = await ask(token, `GET ${follow(patched)}`);
          assert.equal(status.status, 204);
          session = follow(status);
          // Seconds later; a start that is renewed would be another.
          assert.deepEqual([markOf(follow(patched)), markOf(session)], [mark, mark]);
        }
        isRefused(await ask(token, 'GET /v2/team/app/tags/list'), 'another request meanwhile');
        const put = await ask(token, `PUT ${withDigest(session)}`);
        assert.equal(put.status, 201, put.body.toString());
        assert.equal(follow(put), `/v2/team/app/blobs/${digest}`);
        isRefused(await ask(token, `GET ${follow(put)}`), 'what was uploaded');
        const pulled = await send(door, alice, `GET ${follow(put)}`);
        assert.equal(pulled.body.toString(), bytes);
        const line = await door.logged(({ method, reason }) => method === 'PUT' && reason === 'upload-grace');
        assert.deepEqual([line['user'], line['status'], line['code']], ['alice', 201, undefined]);
      });
    },
  );
}

describe('an upload without a policy, as the registry sees it', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  let dir: string;
  let location = '';
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-grace-'));
    await writeFile(path.join(dir, 'token.key'), secret, { mode: 0o600 });
    upstream = await startUpstream({
      script: async (request) => {
        await request.body();
        request.answer(head('HTTP/1.1 202 Accepted', `Location: ${location}`, 'Content-Length: 0'));
      },
    });
    const config = `auth: { tokens: on, tokenKeys: [${dir}/token.key] }\n`;
    door = await startFrontDoor({ upstreamUrl: upstream.url, htpasswd, config });
  });
  after(async () => {
    await door.stop();
    await upstream.close();
    await rm(dir, { recursive: true });
  });
  const session = `${uploads}0123`;

  for (const [given, expected] of [
    [session, `${session}?_owner=MARK`],
    ['0123', '0123?_owner=MARK'],
    [
      `http://${clientHost}${session}?_state=a%2Fb%3D`,
      `https://${clientHost}${session}?_state=a%2Fb%3D&_owner=MARK`,
    ],
    ['http://UPSTREAM' + session, `https://${clientHost}${session}?_owner=MARK`],
    [`https://storage.test${session}?a`, `https://storage.test${session}?a`],
    [`/v2/team/app/blobs/${digest}`, `/v2/team/app/blobs/${digest}`],
  ] as const) {
    test(`its Location ${given}, from the start to later answers`, async () => {
      location = given.replace('UPSTREAM', `127.0.0.1:${upstream.port}`);
      const { good, expired } = twins('alice');
      const [got = ''] = values(await send(door, bearer(good), `POST ${uploads}`), 'location');
      assert.equal(got.replace(/_owner=[\w-]{48}$/, '_owner=MARK'), expected);
      const [mark] = /_owner=.*/.exec(got) ?? [];
      if (mark === undefined) return;
      const later = await send(door, bearer(expired), `PATCH ${session}?_state=2&${mark}`, 'x');
      assert.deepEqual(values(later, 'location'), [got]);
    });
  }

  for (const [given, sent] of [
    ['PATCH PATH?MARK', 'PATCH PATH'],
    ['GET PATH?MARK', 'GET PATH'],
    ['PATCH PATH?_state=%3d%3D&MARK&z=%20+', 'PATCH PATH?_state=%3d%3D&z=%20+'],
    ['PUT PATH?MARK&digest=sha256%3Axyz', 'PUT PATH?digest=sha256%3Axyz'],
    ['PUT PATH?digest=sha256:xyz&_state=a&MARK', 'PUT PATH?digest=sha256:xyz&_state=a'],
  ] as const) {
    test(`${given} comes as ${sent}, whoever sends it`, async () => {
      location = session;
      const { good, expired } = twins('alice');
      const [mark = ''] = /_owner=.*/.exec(await begin(door, bearer(good))) ?? [];
      const request = given.replace('PATH', session).replace('MARK', mark);
      for (const credentials of [
        ...[bearer(expired), bearer(good), bearer(tokenOf('bob'))],
        ...[alice, basicOf('bob', userPassword)],
      ]) {
        assert.equal(
          (await send(door, credentials, request, given.startsWith('GET') ? '' : 'x')).status,
          202,
        );
        assert.equal(upstream.requests.at(-1)?.startLine, `${sent.replace('PATH', session)} HTTP/1.1`);
      }
    });
  }

  test('a field of the registry’s own that only has the name stays', async () => {
    const request = `PATCH ${session}?_owner=me&_state=x`;
    assert.equal((await send(door, alice, request, 'x')).status, 202);
    assert.equal(upstream.requests.at(-1)?.startLine, `${request} HTTP/1.1`);
  });

  test('nothing of what is refused comes', async () => {
    const count = upstream.requests.length;
    isRefused(
      await send(door, bearer(tokenOf('alice', { leftS: -1 })), `PATCH ${session}?_owner=x`, 'x'),
      '',
    );
    assert.equal(upstream.requests.length, count);
    const { reason } = await door.logged((line) => line['status'] === 401);
    assert.equal(reason, 'expired-token');
  });
});
