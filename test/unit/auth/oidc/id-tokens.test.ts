import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createIdTokens, hasIdTokenForm, type IdTokenFault } from '../../../../src/auth/oidc/id-tokens.ts';
import { KeysUnavailable } from '../../../../src/auth/oidc/issuer-keys.ts';
import { parseKeySet } from '../../../../src/auth/oidc/key-set.ts';
import {
  audience,
  goodClaims,
  keySet,
  signingKey,
  signToken,
  type Json,
  type SigningKey,
} from '../../../support/issuer.ts';

const github = 'https://token.actions.example';
const gitlab = 'https://gitlab.example';
const [rsa, ec, ed] = [signingKey('one'), signingKey('two', 'ES256'), signingKey('three', 'EdDSA')];
const others = signingKey('four');
const startMs = Date.parse('2030-01-01T00:00:00.000Z');
const startS = startMs / 1000;

/** Two issuers, the clock and the keys of which a test can change. */
async function setUp(maxTokenLength = 8192) {
  let nowMs = startMs;
  let generation = 1;
  let published = (await parseKeySet(keySet([rsa, ec, ed]))).keys;
  let isAway = false;
  let asked = 0;
  const ofOther = (await parseKeySet(keySet([others]))).keys;
  const tokens = createIdTokens({
    issuers: [
      {
        ...{ name: 'github', issuer: github, audience },
        keys: {
          find: (kid) => {
            asked += 1;
            if (isAway) return Promise.reject(new KeysUnavailable('away'));
            return Promise.resolve(published.get(kid) ?? null);
          },
          generation: () => generation,
        },
      },
      {
        ...{ name: 'gitlab', issuer: gitlab, audience },
        keys: { find: (kid) => Promise.resolve(ofOther.get(kid) ?? null), generation: () => 1 },
      },
    ],
    ...{ maxTokenLength, maxRemembered: 10, now: () => nowMs },
  });
  return {
    tokens,
    at: (seconds: number) => (nowMs = startMs + seconds * 1000),
    asked: () => asked,
    leave: () => (isAway = true),
    publish: async (keys: readonly SigningKey[]) => {
      published = (await parseKeySet(keySet(keys))).keys;
      generation += 1;
    },
  };
}

const claimsOf = (claims: Json = {}) => goodClaims(github, claims, startS);
const make = (claims: Json = {}, header: Json = {}, key = rsa) => signToken(key, claimsOf(claims), header);
const reasonOf = (result: unknown) => (result as Partial<IdTokenFault>).reason ?? 'none';

describe('ID tokens', () => {
  for (const key of [rsa, ec, ed])
    test(`of ${key.alg} prove a job, with its claims that are text`, async () => {
      const { tokens } = await setUp();
      const result = await tokens.verify(
        make(
          { repository: 'acme/app', ref: 'refs/heads/main', run: 7, list: ['a'], more: { a: 'b' } },
          {},
          key,
        ),
      );
      assert.deepEqual(result, {
        job: {
          kind: 'job',
          issuer: 'github',
          name: 'acme/app@refs/heads/main',
          claims: {
            iss: github,
            aud: audience,
            sub: 'repo:acme/app:ref:refs/heads/main',
            repository: 'acme/app',
            ref: 'refs/heads/main',
          },
        },
        expiresMs: startMs + 300_000,
      });
    });

  test('are verified once, as long as they are good and their key is published', async () => {
    const { tokens, at, asked, publish } = await setUp();
    const token = make();
    for (let i = 0; i < 5; i += 1) assert.equal(reasonOf(await tokens.verify(token)), 'none');
    assert.equal(asked(), 5, 'old keys are refreshed for remembered tokens, too');
    at(359);
    assert.equal(reasonOf(await tokens.verify(token)), 'none');
    await publish([ec]);
    assert.equal(reasonOf(await tokens.verify(token)), 'unknown-key', 'its key is withdrawn');
    await publish([rsa]);
    assert.equal(reasonOf(await tokens.verify(token)), 'none');
    at(360);
    assert.equal(reasonOf(await tokens.verify(token)), 'expired-id-token', 'remembered or not');
  });

  test('cannot be judged while keys are not known; what is wrong without them is', async () => {
    const { tokens, leave } = await setUp();
    leave();
    await assert.rejects(tokens.verify(make()), KeysUnavailable);
    assert.equal(reasonOf(await tokens.verify(make({ aud: 'other' }))), 'wrong-audience');
  });

  const accepted: readonly [what: string, claims: Json, header?: Json][] = [
    ['an audience in a list of one', { aud: [audience] }],
    ['no nbf', { nbf: undefined }],
    ['no typ', {}, { typ: undefined }],
    ['a typ in lower case', {}, { typ: 'jwt' }],
    ['an end 59 seconds ago', { exp: startS - 59 }],
    ['a beginning in 60 seconds', { iat: startS + 60, nbf: startS + 60 }],
    [
      'an embedded key, which is not looked at',
      {},
      { jwk: others.jwk, jku: 'https://evil.example', x5u: 'x' },
    ],
  ];
  for (const [what, claims, header] of accepted)
    test(`are accepted with ${what}`, async () => {
      const { tokens } = await setUp();
      assert.equal(reasonOf(await tokens.verify(make(claims, header))), 'none');
    });

  const forgedBody = (token: string) => {
    const [header, , signature] = token.split('.');
    const body = Buffer.from(JSON.stringify(claimsOf({ sub: 'other' }))).toString('base64url');
    return [header, body, signature].join('.');
  };
  const refused: readonly [what: string, token: string, reason: IdTokenFault['reason']][] = [
    ['none as algorithm', make({}, { alg: 'none' }), 'malformed-id-token'],
    ['the public key as a secret', make({}, { alg: 'HS256' }), 'malformed-id-token'],
    ['PS256', make({}, { alg: 'PS256' }), 'malformed-id-token'],
    ['another algorithm than its key', make({}, { alg: 'ES256' }), 'wrong-signature'],
    ['no algorithm', make({}, { alg: undefined }), 'malformed-id-token'],
    ['no kid', make({}, { kid: undefined }), 'malformed-id-token'],
    ['the kid of nobody', make({}, { kid: 'nobody' }), 'unknown-key'],
    ["the kid of another issuer's key", make({}, {}, others), 'unknown-key'],
    ["another issuer's key under this one's kid", make({}, { kid: 'one' }, others), 'wrong-signature'],
    ['an embedded key', make({}, { kid: 'one', jwk: others.jwk }, others), 'wrong-signature'],
    ['crit', make({}, { crit: ['exp'] }), 'malformed-id-token'],
    ['another typ', make({}, { typ: 'at+jwt' }), 'malformed-id-token'],
    ['claims that were changed', forgedBody(make()), 'wrong-signature'],
    ['no signature', make().replace(/[^.]*$/, ''), 'malformed-id-token'],
    ['a signature too short', make().slice(0, -20), 'wrong-signature'],
    ['another audience', make({ aud: 'other.example.com' }), 'wrong-audience'],
    ['a further audience', make({ aud: [audience, 'other'] }), 'wrong-audience'],
    ['no audience', make({ aud: undefined }), 'wrong-audience'],
    ['an empty list of audiences', make({ aud: [] }), 'wrong-audience'],
    ['an audience in other case', make({ aud: audience.toUpperCase() }), 'wrong-audience'],
    ['an audience in a list in a list', make({ aud: [[audience]] }), 'wrong-audience'],
    ['another issuer', make({ iss: 'https://evil.example' }), 'unknown-issuer'],
    ['the issuer with a slash', make({ iss: `${github}/` }), 'unknown-issuer'],
    ['no issuer', make({ iss: undefined }), 'unknown-issuer'],
    ['a list of issuers', make({ iss: [github] }), 'unknown-issuer'],
    ['an end a minute ago', make({ exp: startS - 60 }), 'expired-id-token'],
    ['no end', make({ exp: undefined }), 'malformed-id-token'],
    ['an end that is text', make({ exp: String(startS + 300) }), 'malformed-id-token'],
    ['an end far beyond all time', make({ exp: 1e300 }), 'malformed-id-token'],
    ['no beginning', make({ iat: undefined }), 'malformed-id-token'],
    ['a beginning in 61 seconds', make({ nbf: startS + 61 }), 'early-id-token'],
    ['a making in 61 seconds', make({ iat: startS + 61 }), 'early-id-token'],
    ['no subject', make({ sub: undefined }), 'malformed-id-token'],
    ['an empty subject', make({ sub: '' }), 'malformed-id-token'],
    ['claims of 4 KiB', make({ more: 'x'.repeat(4096) }), 'malformed-id-token'],
    ['10,000 characters', make({ more: ['x'.repeat(10_000)] }), 'malformed-id-token'],
    [
      'a header that is no object',
      `${Buffer.from('[]').toString('base64url')}.e30.e30`,
      'malformed-id-token',
    ],
    ['no JSON', 'eyJh.eyJh.eyJh', 'malformed-id-token'],
  ];
  for (const [what, token, reason] of refused)
    test(`are refused with ${what}`, async () => {
      const { tokens } = await setUp();
      assert.equal(reasonOf(await tokens.verify(token)), reason);
    });

  test('that could not be good make nobody ask for keys', async () => {
    const { tokens, asked } = await setUp();
    for (const [, token, reason] of refused) {
      const before = asked();
      await tokens.verify(token);
      assert.equal(asked() > before, reason === 'unknown-key' || reason === 'wrong-signature');
    }
  });

  test('are refused in sentences that repeat nothing of them', async () => {
    const { tokens } = await setUp();
    const result = (await tokens.verify(make({ exp: startS - 3600, sub: 'hostile' }))) as IdTokenFault;
    assert.deepEqual(result, {
      reason: 'expired-id-token',
      issuer: 'github',
      sentence: 'it expired 3600 seconds ago',
    });
    for (const [, token] of refused) {
      const { sentence } = (await tokens.verify(token)) as IdTokenFault;
      assert.doesNotMatch(sentence, /evil|other\.|nobody|x{9}/);
    }
  });

  test('are told from passwords by their form', () => {
    assert.ok(hasIdTokenForm(make()));
    assert.ok(hasIdTokenForm(make({}, { alg: 'none' }).replace(/\.$/, '.x')));
    for (const text of ['', 'eyJ', 'password', 'a.b.c', 'tidegate_abc', 'eyJ.a.b.c'])
      assert.ok(!hasIdTokenForm(text), text);
  });
});
