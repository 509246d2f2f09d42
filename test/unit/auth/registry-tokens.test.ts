import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, test } from 'node:test';
import {
  createRegistryTokens,
  type RegistryTokens,
  type RegistryTokensOptions,
  type TokenHolder,
  type VerifiedToken,
} from '../../../src/auth/tokens/registry-tokens.ts';
import { deriveTokenKeys } from '../../../src/auth/tokens/token-secrets.ts';
import type { Scope } from '../../../src/registry/token-scope.ts';
import { anonymous, type Job } from '../../../src/registry/principal.ts';
import {
  draftToken,
  hash as userHash,
  makeToken,
  secrets as tokenSecrets,
  service,
  users,
} from '../../support/cases/token-draft.ts';
import { spellings, tokenFlaws, type Flaw } from '../../support/cases/token-flaws.ts';
import { userHolder } from '../../support/machines.ts';
import { machineToken, user } from '../../support/principals.ts';

const secret = 'a secret of thirty-two or more bytes';
const scopes: readonly Scope[] = [{ type: 'repository', name: 'a/b', actions: ['pull'] }];
const startMs = Date.parse('2030-01-01T00:00:00.000Z');

/** Tokens for alice, with a clock and a line that a test can change. */
function setUp(options: Partial<RegistryTokensOptions> = {}) {
  let nowMs = startMs;
  let hash: string | undefined = 'h1';
  const tokens = createRegistryTokens({
    ...{ secrets: [secret], service: 'Registry', ttlMs: 300_000, refreshTtlMs: 3_600_000, maxRemembered: 10 },
    findHolder: (name) => userHolder(name, name === 'alice' ? hash : name === 'bob' ? 'h1' : undefined),
    now: () => nowMs,
    ...options,
  });
  const alice = { principal: user('alice'), hash: 'h1', expiresMs: null };
  return {
    ...{ tokens, alice },
    issue: async () => (await tokens.issue(alice, scopes)).token,
    at: (ms: number) => (nowMs = startMs + ms),
    setHash: (next: string | undefined) => (hash = next),
  };
}

type Part = Record<string, unknown>;
const encode = (part: Part) => Buffer.from(JSON.stringify(part)).toString('base64url');
const decode = (part: string | undefined) =>
  JSON.parse(Buffer.from(part ?? '', 'base64url').toString()) as Part;
const read = (token: string) => {
  const [header, payload] = token.split('.');
  return { header: decode(header), payload: decode(payload) };
};
/** A token signed with the right key, whatever it says. */
const forge = (header: Part, payload: Part, key: Uint8Array = deriveTokenKeys(secret).access) => {
  const text = `${encode(header)}.${encode(payload)}`;
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
};
const verified = { principal: user('alice'), scopes };

/** What a token says besides its id, which has to be its own. */
const verify = async (tokens: RegistryTokens, token: string) => idless(await tokens.verify(token), token);
const idless = <Fault>(found: VerifiedToken | Fault, token: string) => {
  if (found === null || typeof found !== 'object' || !('id' in found)) return found;
  const { id, ...rest } = found;
  assert.equal(id, read(token).payload['jti']);
  return rest;
};

describe('registry tokens', () => {
  test('say all that the specification wants of them', async () => {
    const { tokens, alice } = setUp();
    const { token, lifetimeSeconds, issuedAt } = await tokens.issue(alice, scopes);
    assert.deepEqual([lifetimeSeconds, issuedAt], [300, '2030-01-01T00:00:00.000Z']);
    const { header, payload } = read(token);
    const from = startMs / 1000;
    assert.deepEqual(header, { alg: 'HS256', typ: 'at+jwt', kid: deriveTokenKeys(secret).id });
    const { jti, line, ...claims } = payload;
    assert.match(String(jti), /^[0-9a-f-]{36}$/);
    assert.match(String(line), /^[\w-]{43}$/);
    assert.deepEqual(claims, {
      ...{ iss: 'tidegate', aud: 'Registry', sub: 'alice', iat: from, nbf: from, exp: from + 300 },
      access: scopes,
    });
    assert.deepEqual(await verify(tokens, token), verified);
    assert.deepEqual(await verify(tokens, token), verified, 'remembered');
  });

  test('are remembered by their length: long ones take the place of many', async () => {
    const { tokens, alice, at } = setUp({ maxRemembered: 30 });
    const long = Array.from({ length: 32 }, (_, i) => ({
      ...{ type: 'repository', name: `${'a'.repeat(250)}/${i}`, actions: ['pull'] },
    })) as Scope[];
    const issued: string[] = [];
    for (const asked of [long, long, long, scopes]) issued.push((await tokens.issue(alice, asked)).token);
    for (const token of issued) assert.equal(typeof (await verify(tokens, token)), 'object');
    at(-60_000); // what is remembered is not read anew
    const found = await Promise.all(issued.map((token) => tokens.verify(token)));
    assert.deepEqual(
      found.map((each) => typeof each === 'object'),
      [false, true, true, true],
    );
  });

  test('of one who did not say who he is', async () => {
    const { tokens } = setUp();
    const { token } = await tokens.issue(null, []);
    assert.equal(read(token).payload['sub'], '');
    assert.deepEqual(await verify(tokens, token), { principal: anonymous, scopes: [] });
  });

  for (const kind of ['access', 'refresh'] as const) {
    test(`a forged ${kind} token is refused, whatever is forged, and a right one in another spelling is taken`, async () => {
      const [first = '', ...others] = tokenSecrets;
      const { tokens } = setUp({
        secrets: [first, ...others],
        service,
        findHolder: (name) => userHolder(name, users.includes(name) ? userHash : undefined),
        now: Date.now,
      });
      const isTaken = async ({ change }: Flaw, secret: string) => {
        const draft = draftToken(kind, 'alice', secret, scopes);
        change(draft, (limit) => limit >> 1);
        const token = makeToken(draft);
        const verified = await (kind === 'access' ? tokens.verify(token) : tokens.verifyRefresh(token));
        return typeof verified === 'object' && verified !== null;
      };
      for (const secret of tokenSecrets) {
        const nothing: Flaw = { what: 'nothing', change: () => {} };
        for (const [listed, areTaken] of [
          [tokenFlaws('https://127.0.0.1:1'), false],
          [[nothing, ...spellings()], true],
        ] as const)
          for (const flaw of listed.filter(({ only = kind }) => only === kind))
            assert.equal(await isTaken(flaw, secret), areTaken, flaw.what);
      }
    });
  }

  describe('that have expired', () => {
    const expired = async (tokens: RegistryTokens, token: string) =>
      idless(await tokens.verifyExpired(token), token);

    test('are told from others that are not good', async () => {
      const { tokens, issue, alice, at, setHash } = setUp();
      const [token, refresh] = [await issue(), await tokens.issueRefresh(alice)];
      for (const ms of [0, 329_000, 330_000, 86_400_000]) {
        at(ms);
        assert.deepEqual(await expired(tokens, token), verified, `after ${ms} ms`);
        assert.equal(await expired(tokens, refresh), null);
        for (const hash of ['h2', undefined]) {
          setHash(hash);
          assert.equal(await expired(tokens, token), null);
        }
        setHash('h1');
      }
      assert.equal(await verify(tokens, token), 'expired-token');
    });

    test('have to be of this service and its keys, too', async () => {
      for (const options of [{ service: 'Other' }, { secrets: [`${secret} anew`] as const }]) {
        const other = setUp(options);
        other.at(86_400_000);
        assert.equal(await expired(other.tokens, await setUp().issue()), null);
      }
    });

    test('have no other fault, whatever is forged', async () => {
      const [first = '', ...others] = tokenSecrets;
      const { tokens } = setUp({
        ...{ secrets: [first, ...others], service, now: Date.now },
        findHolder: (name) => userHolder(name, users.includes(name) ? userHash : undefined),
      });
      const nothing: Flaw = { what: 'nothing', change: () => {} };
      for (const { what, change, only = 'access' } of [nothing, ...tokenFlaws('https://127.0.0.1:1')]) {
        if (only !== 'access') continue;
        const draft = draftToken('access', 'alice', first, scopes);
        const longAgo = Date.now() / 1000 - 3600;
        Object.assign(draft.claims, { iat: longAgo - 300, nbf: longAgo - 300, exp: longAgo });
        const before = draft.claims['exp'];
        change(draft, (limit) => limit >> 1);
        const exp = draft.claims['exp'];
        const isOtherEnd = typeof exp === 'number' && exp !== before && exp > longAgo - 300;
        const isTaken = (await tokens.verifyExpired(makeToken(draft))) !== null;
        assert.equal(isTaken, what === 'nothing' || isOtherEnd, what);
      }
    });
  });

  test('are not taken before they begin, but for clocks that differ', async () => {
    const { tokens, issue } = setUp();
    const { header, payload } = read(await issue());
    for (const [aheadS, expected] of [
      [30, verified],
      [31, 'invalid-token'],
    ] as const)
      assert.deepEqual(
        await verify(tokens, forge(header, { ...payload, nbf: startMs / 1000 + aheadS })),
        expected,
      );
  });

  test('end in time, remembered or not, and a little later for clocks that differ', async () => {
    const { tokens, issue, at } = setUp({ maxRemembered: 1 });
    const remembered = await issue();
    const other = await issue();
    for (const [ms, expected] of [
      [-29_000, verified],
      [329_000, verified],
      [330_000, 'expired-token'],
      [86_400_000, 'expired-token'],
    ] as const) {
      at(ms);
      for (const token of [remembered, other, remembered, remembered])
        assert.deepEqual(await verify(tokens, token), expected, `after ${ms} ms`);
    }
  });

  test('end with the user and with the password, at once, and come back with the line', async () => {
    const { tokens, issue, alice, setHash } = setUp();
    const token = await issue();
    const refresh = await tokens.issueRefresh(alice);
    for (const hash of ['h1', undefined, 'h1', 'h2', 'h1']) {
      setHash(hash);
      assert.deepEqual(await verify(tokens, token), hash === 'h1' ? verified : 'invalid-token');
      assert.deepEqual(await tokens.verifyRefresh(refresh), hash === 'h1' ? alice : null);
    }
  });

  test('refresh tokens are good for nothing else, and nothing else for them', async () => {
    const { tokens, alice, issue, at } = setUp();
    const refresh = await tokens.issueRefresh(alice);
    assert.equal(await verify(tokens, refresh), 'invalid-token');
    assert.equal(await tokens.verifyRefresh(await issue()), null);
    at(3_600_000 + 29_000);
    assert.deepEqual(await tokens.verifyRefresh(refresh), alice);
    at(3_600_000 + 30_000);
    assert.equal(await tokens.verifyRefresh(refresh), null);
  });

  test('have one spelling, which decoders of Base64 do not insist on', async () => {
    const { tokens, alice, issue } = setUp();
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const straying = (token: string) =>
      token.slice(0, -1) + letters.charAt(letters.indexOf(token.slice(-1)) + 1);
    assert.equal(await verify(tokens, straying(await issue())), 'invalid-token');
    const refresh = await tokens.issueRefresh(alice);
    for (const other of [straying(refresh), `${refresh}=`, ` ${refresh}`, refresh.replace(/.{9}$/, ' $&')])
      assert.equal(await tokens.verifyRefresh(other), null, other);
  });

  test('the first key signs and all verify, on whatever instance', async () => {
    const old = setUp();
    const both = setUp({ secrets: [`${secret} anew`, secret] });
    const anew = setUp({ secrets: [`${secret} anew`] });
    const [oldToken, newToken] = [await old.issue(), await both.issue()];
    assert.deepEqual(await verify(both.tokens, oldToken), verified);
    assert.deepEqual(await verify(anew.tokens, newToken), verified);
    assert.equal(await verify(anew.tokens, oldToken), 'invalid-token');
    assert.equal(await verify(old.tokens, newToken), 'invalid-token');
  });

  test('one service takes none of another', async () => {
    const other = setUp({ service: 'Other' });
    assert.equal(await verify(other.tokens, await setUp().issue()), 'invalid-token');
  });
});

describe('a token for a machine token', () => {
  const grant = { repositories: ['team/**'], actions: ['pull'], owner: null } as const;
  function setUpMachine() {
    let holder: TokenHolder | undefined = {
      principal: machineToken('ci', grant),
      hash: 'h1',
      expiresMs: 1000_000,
    };
    const clock = { nowMs: 900_000 };
    const tokens = createRegistryTokens({
      ...{
        secrets: [secret],
        service: 'Registry',
        ttlMs: 300_000,
        refreshTtlMs: 3_600_000,
        maxRemembered: 10,
      },
      findHolder: (text) =>
        text === 'token:ci' ? holder : text === 'ci' ? userHolder('ci', 'h1') : undefined,
      now: () => clock.nowMs,
    });
    return {
      ...{ tokens, clock, subject: holder },
      become: (next: Partial<TokenHolder> | undefined) => {
        holder = next === undefined || holder === undefined ? undefined : { ...holder, ...next };
      },
    };
  }

  test('is no longer good than that, and gives whoever it is now', async () => {
    const { tokens, subject, become } = setUpMachine();
    const { token, lifetimeSeconds } = await tokens.issue(subject, scopes);
    assert.equal(lifetimeSeconds, 100);
    for (const principal of [
      machineToken('ci', grant),
      machineToken('ci', { ...grant, actions: ['push'] }),
    ]) {
      become({ principal });
      for (const time of ['first', 'remembered'])
        assert.deepEqual(await verify(tokens, token), { principal, scopes }, time);
    }
  });

  for (const [what, next] of [
    ['revoked, expired, or without its owner', undefined],
    ['rotated', { hash: 'h2' }],
  ] as const) {
    test(`ends when that is ${what}`, async () => {
      for (const isRemembered of [false, true]) {
        const { tokens, subject, become } = setUpMachine();
        const { token } = await tokens.issue(subject, scopes);
        if (isRemembered) assert.equal(typeof (await verify(tokens, token)), 'object');
        become(next);
        assert.equal(await verify(tokens, token), 'invalid-token');
      }
    });
  }

  test('is not for the user of that name, and no refresh token is', async () => {
    const { tokens, subject } = setUpMachine();
    const { token } = await tokens.issue(userHolder('ci', 'h1') ?? null, scopes);
    assert.deepEqual(await verify(tokens, token), { principal: user('ci'), scopes });
    assert.equal(await tokens.verifyRefresh(await tokens.issueRefresh(subject)), null);
  });
});

describe('tokens for jobs', () => {
  const job: Job = {
    kind: 'job',
    issuer: 'github',
    name: 'acme/app@main',
    claims: { sub: 's', repository: 'acme/app', ref: 'main', constructor: 'x' },
  };
  const holder = (principal: Job, hash = 'https://issuer audience') => ({ principal, hash, expiresMs: null });
  const idOf = (token: string) => read(token).payload['jti'];
  const setUpJobs = () => {
    let hash: string | undefined = 'https://issuer audience';
    const set = setUp({ holderOfJob: (one) => (hash === undefined ? undefined : holder(one, hash)) });
    return { ...set, setBinding: (next: string | undefined) => (hash = next) };
  };

  test('carry its claims, and bring back the same job', async () => {
    const { tokens } = setUpJobs();
    const { token } = await tokens.issue(holder(job), scopes);
    for (let i = 0; i < 2; i += 1)
      assert.deepEqual(
        await tokens.verify(token),
        { principal: job, scopes, id: idOf(token) },
        'remembered or not',
      );
  });

  test('end with its ID token', async () => {
    const { tokens, at } = setUpJobs();
    const issued = await tokens.issue({ ...holder(job), expiresMs: startMs + 20_500 }, scopes);
    assert.equal(issued.lifetimeSeconds, 20);
    assert.equal(read(issued.token).payload['exp'], startMs / 1000 + 20);
    at(20_000 + 31_000);
    assert.equal(await tokens.verify(issued.token), 'expired-token');
    const inGrace = await tokens.verifyExpired(issued.token);
    assert.deepEqual(inGrace?.principal, job, 'for an upload that it began');
  });

  test('end with its issuer, or when that has another URL or audience', async () => {
    const { tokens, setBinding } = setUpJobs();
    const { token } = await tokens.issue(holder(job), scopes);
    await tokens.verify(token);
    setBinding('https://issuer other');
    assert.equal(await tokens.verify(token), 'invalid-token');
    setBinding(undefined);
    assert.equal(await tokens.verify(token), 'invalid-token');
    assert.equal(await setUp().tokens.verify(token), 'invalid-token', 'without any issuer');
  });

  test('are never those of a user or a machine, nor the other way round, and are no refresh tokens', async () => {
    const { tokens, issue } = setUpJobs();
    const { token } = await tokens.issue(holder(job), scopes);
    const { header, payload } = read(token);
    for (const change of [
      { sub: 'alice' },
      { sub: 'token:ci' },
      { sub: '' },
      { sub: 'job:gitlab acme/app@main' },
      { job: undefined },
      { job: null },
      { job: { issuer: 'github' } },
      { job: { issuer: 'github', claims: {} } },
      { job: { issuer: 'gitlab', claims: job.claims } },
      { job: { issuer: 'github', claims: { ...job.claims, ref: 'other' } } },
      { line: undefined },
    ])
      assert.equal(
        await tokens.verify(forge(header, { ...payload, ...change })),
        'invalid-token',
        JSON.stringify(change),
      );
    const users = read(await issue());
    const carrying = { ...users.payload, job: payload['job'] };
    assert.equal(await tokens.verify(forge(users.header, carrying)), 'invalid-token');
    const refresh = await tokens.issueRefresh(holder(job));
    assert.equal(await tokens.verifyRefresh(refresh), null);
  });

  test('with the largest claims and scopes are verified', async () => {
    const { tokens } = setUpJobs();
    const name = `${'a'.repeat(120)}/${'b'.repeat(120)}`;
    const many = Array.from({ length: 32 }, () => ({
      ...{ type: 'repository' as const, name },
      actions: ['pull', 'push', 'delete'],
    }));
    const large = { ...job, claims: { ...job.claims, more: 'x'.repeat(3900) } };
    const { token } = await tokens.issue(holder(large), many);
    assert.ok(token.length > 16_384, `${token.length}`);
    assert.deepEqual(await tokens.verify(token), { principal: large, scopes: many, id: idOf(token) });
  });
});
