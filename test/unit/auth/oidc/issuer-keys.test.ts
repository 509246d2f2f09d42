import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import {
  createIssuerKeys,
  KeysUnavailable,
  refetchMs,
  type IssuerKeys,
  type IssuerKeysOptions,
} from '../../../../src/auth/oidc/issuer-keys.ts';
import { keySet, signingKey, startIssuer, type Issuer } from '../../../support/issuer.ts';

const one = signingKey('one');
const two = signingKey('two', 'ES256');
const three = signingKey('three', 'EdDSA');
const minute = 60_000;

describe('the keys of an issuer', () => {
  let issuer: Issuer;
  let opened: IssuerKeys[] = [];
  before(async () => {
    issuer = await startIssuer([one]);
  });
  after(() => issuer.stop());
  afterEach(() => {
    for (const keys of opened) keys.close();
    opened = [];
    issuer.respond = null;
    issuer.requests.length = 0;
    issuer.documents = {
      discovery: { issuer: issuer.url, jwks_uri: `${issuer.url}/jwks` },
      jwks: keySet([one]),
    };
  });

  /** Keys with a clock that a test moves. */
  function setUp(options: Partial<IssuerKeysOptions> = {}) {
    let nowMs = 0;
    const log: string[] = [];
    const logger = {
      info: (_: unknown, message: string) => log.push(message),
      warn: (_: unknown, message: string) => log.push(message),
    } as unknown as IssuerKeysOptions['logger'];
    const keys = createIssuerKeys({
      ...{ name: 'ci', issuer: issuer.url, jwks: null, ca: issuer.ca },
      ...{ timeoutMs: 5000, maxBytes: 64 * 1024, logger, now: () => nowMs },
      ...options,
    });
    opened.push(keys);
    return { keys, log, pass: (ms: number) => (nowMs += ms) };
  }

  /** Why no key is found: the log's sentence. */
  async function failing(options: Partial<IssuerKeysOptions> = {}): Promise<string> {
    const { keys, log } = setUp(options);
    await assert.rejects(keys.find('one'), KeysUnavailable);
    assert.equal(log.length, 1, log.join('\n'));
    return log[0] ?? '';
  }

  test('come by discovery, once for all who wait', async () => {
    const { keys, log } = setUp();
    const found = await Promise.all([keys.find('one'), keys.find('one'), keys.find('other')]);
    assert.deepEqual(
      found.map((key) => key?.algorithm ?? null),
      ['RS256', 'RS256', null],
    );
    assert.deepEqual(issuer.requests, ['/.well-known/openid-configuration', '/jwks']);
    assert.deepEqual(log, []);
  });

  test('come from the place that the configuration names, without discovery', async () => {
    const { keys } = setUp({ jwks: `${issuer.url}/jwks`, issuer: 'https://elsewhere.example' });
    assert.notEqual(await keys.find('one'), null);
    assert.deepEqual(issuer.requests, ['/jwks']);
  });

  test('are of the three algorithms', async () => {
    issuer.documents.jwks = keySet([one, two, three]);
    const { keys } = setUp();
    const algorithms = ['one', 'two', 'three'].map(async (kid) => (await keys.find(kid))?.algorithm);
    assert.deepEqual(await Promise.all(algorithms), ['RS256', 'ES256', 'EdDSA']);
  });

  test('are rotated: an unknown one is looked for at most once in a while', async () => {
    const { keys, pass } = setUp();
    assert.equal(await keys.find('two'), null);
    issuer.documents.jwks = keySet([two]);
    for (let i = 0; i < 20; i += 1) await assert.rejects(keys.find('two'), KeysUnavailable);
    assert.equal(issuer.requests.length, 2);
    const before = keys.generation();
    pass(refetchMs);
    assert.equal((await keys.find('two'))?.algorithm, 'ES256');
    assert.equal(issuer.requests.length, 4);
    assert.ok(keys.generation() > before);
    await assert.rejects(keys.find('one'), KeysUnavailable);
    pass(refetchMs);
    assert.equal(await keys.find('one'), null, 'a key that is withdrawn is gone');
  });

  test('are fetched anew while the present ones serve', async () => {
    const { keys, pass } = setUp();
    await keys.find('one');
    const { length } = issuer.requests;
    pass(5 * minute);
    let answer = () => {};
    const asked = new Promise<void>((resolve) => {
      issuer.respond = (_, res) => {
        answer = () => res.writeHead(500).end();
        resolve();
      };
    });
    assert.notEqual(await keys.find('one'), null, 'without waiting');
    await asked;
    answer();
    assert.equal(issuer.requests.length, length + 1);
  });

  test('serve on while the issuer is away, and a key that is not known is not said to be wrong', async () => {
    const { keys, log, pass } = setUp();
    await keys.find('one');
    const generation = keys.generation();
    issuer.respond = (_, res) => res.destroy();
    pass(24 * 60 * minute - 1);
    assert.notEqual(await keys.find('one'), null);
    await assert.rejects(keys.find('two'), KeysUnavailable);
    pass(refetchMs);
    await assert.rejects(keys.find('one'), KeysUnavailable, 'for a day');
    await assert.rejects(keys.find('two'), KeysUnavailable);
    assert.equal(log.length, 1, 'one line for one reason');
    assert.match(log[0] ?? '', /stay in effect/);
    issuer.respond = null;
    pass(refetchMs);
    assert.equal(await keys.find('two'), null);
    assert.match(log[1] ?? '', /can be fetched again/);
    assert.equal(keys.generation(), generation, 'the same keys are no change');
  });

  test('serve without waiting for an issuer that failed last time', async () => {
    const { keys, pass } = setUp();
    await keys.find('one');
    issuer.respond = (_, res) => res.writeHead(500).end();
    pass(60 * minute);
    assert.notEqual(await keys.find('one'), null);
    const asked = new Promise<void>((resolve) => (issuer.respond = () => resolve()));
    pass(refetchMs);
    assert.notEqual(await keys.find('one'), null, 'the issuer never answers');
    await asked;
    pass(5000);
    assert.notEqual(await keys.find('one'), null, 'nor during the fetch');
  });

  test('that are withdrawn are gone at the first use after a long time', async () => {
    const { keys, pass } = setUp();
    await keys.find('one');
    issuer.documents.jwks = keySet([two]);
    pass(10 * minute);
    assert.equal(await keys.find('one'), null);
  });

  for (const [what, jwks] of Object.entries({
    'no keys': { keys: [] },
    'only a secret': { keys: [{ kid: 'one', kty: 'oct', k: 'AAAA' }] },
  }))
    test(`are withdrawn by a set with ${what}`, async () => {
      const { keys, log, pass } = setUp();
      await keys.find('one');
      issuer.documents.jwks = jwks;
      for (let i = 0; i < 2; i += 1) {
        pass(10 * minute);
        assert.equal(await keys.find('one'), null);
      }
      assert.deepEqual(log, [
        'The issuer ci publishes no key that can verify an ID token: its tokens are refused.',
      ]);
    });

  test('are fetched in advance, whether that succeeds or not', async () => {
    const { keys } = setUp();
    await keys.prefetch();
    await keys.prefetch();
    assert.deepEqual(issuer.requests, ['/.well-known/openid-configuration', '/jwks']);
    issuer.respond = (_, res) => res.writeHead(500).end();
    await setUp().keys.prefetch();
  });

  test('are not known while the issuer was never there, and it is not asked at each token', async () => {
    issuer.respond = (_, res) => res.writeHead(503).end();
    const { keys, pass } = setUp();
    for (let i = 0; i < 5; i += 1) await assert.rejects(keys.find('one'), KeysUnavailable);
    assert.equal(issuer.requests.length, 1);
    issuer.respond = null;
    pass(refetchMs);
    assert.notEqual(await keys.find('one'), null);
  });

  describe('an issuer that lies is not believed', () => {
    test('by another issuer in its document', async () => {
      issuer.documents.discovery = { issuer: `${issuer.url}/`, jwks_uri: `${issuer.url}/jwks` };
      assert.match(await failing(), /it is the document of another issuer/);
    });

    for (const place of [
      'https://127.0.0.1/jwks',
      'http://localhost/jwks',
      'file:///etc/passwd',
      'nothing',
      7,
    ])
      test(`by keys at ${place}`, async () => {
        issuer.documents.discovery = { issuer: issuer.url, jwks_uri: place };
        assert.match(await failing(), /jwks_uri/);
        assert.equal(issuer.requests.length, 1);
      });

    test('by a redirect', async () => {
      issuer.respond = (_, res) => res.writeHead(302, { Location: `${issuer.url}/jwks` }).end();
      assert.match(await failing(), /it answered 302, and redirects are not followed/);
      assert.equal(issuer.requests.length, 1);
    });

    test('by a body without end', async () => {
      let sent = 0;
      issuer.respond = (_, res) => {
        const write = () => {
          while (!res.destroyed && res.write(Buffer.alloc(16 * 1024, 0x20))) sent += 16 * 1024;
          if (!res.destroyed) res.once('drain', write);
        };
        write();
      };
      assert.match(await failing(), /it is larger than 65536 bytes/);
      assert.ok(sent < 64 * 1024 * 1024, 'reading ended');
    });

    test('by an answer that never ends', async () => {
      issuer.respond = (_, res) => res.writeHead(200).write(' ');
      assert.match(await failing({ timeoutMs: 200 }), /it took longer than 200 ms/);
    });

    test('by no answer', async () => {
      issuer.respond = () => {};
      assert.match(await failing({ timeoutMs: 200 }), /it took longer than 200 ms/);
    });

    test('by 101 instead of an answer, once', async () => {
      issuer.respond = (_, res) =>
        res.socket?.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n');
      const { keys, log, pass } = setUp();
      await assert.rejects(keys.find('one'), KeysUnavailable);
      assert.match(log[0] ?? '', /it answered 101 Switching Protocols unasked/);
      issuer.respond = null;
      pass(refetchMs);
      assert.notEqual(await keys.find('one'), null);
    });

    test('by half an answer', async () => {
      issuer.respond = (_, res) => {
        res.writeHead(200, { 'Content-Length': 100 }).write('{');
        setImmediate(() => res.destroy());
      };
      await failing();
    });

    test('by a certificate of another CA', async () => {
      assert.match(await failing({ ca: null }), /certificate/);
      assert.deepEqual(issuer.requests, []);
    });

    for (const [what, jwks] of Object.entries({
      'no set': [],
      'too many keys': { keys: Array.from({ length: 101 }, () => one.jwk) },
    }))
      test(`by keys that are ${what}`, async () => {
        issuer.documents.jwks = jwks;
        assert.match(await failing(), /it is no JSON Web Key Set|it has more than/);
      });

    for (const [what, jwks] of Object.entries({
      'a set of garbage': {
        keys: [null, 7, 'x', {}, { kid: 'one' }, { kid: 'one', kty: 'RSA', n: '!', e: 'AQAB' }],
      },
      'a secret': { keys: [{ kid: 'one', kty: 'oct', k: 'c2VjcmV0', alg: 'HS256' }] },
      'a weak key': keySet([signingKey('one', 'RS1024')]),
      'a key for encryption': { keys: [{ ...one.jwk, use: 'enc' }] },
      'a key that is not to verify': { keys: [{ ...one.jwk, key_ops: ['encrypt'] }] },
      'a key for another algorithm': { keys: [{ ...one.jwk, alg: 'PS256' }] },
      'a key without name': { keys: [{ ...one.jwk, kid: undefined }] },
      'two keys of one name': { keys: [one.jwk, { ...two.jwk, kid: 'one' }] },
      'a key with the exponent 1': { keys: [{ ...one.jwk, e: 'AQ' }] },
      'a key with an even exponent': { keys: [{ ...one.jwk, e: 'AQAC' }] },
    }))
      test(`by keys that are ${what}`, async () => {
        issuer.documents.jwks = jwks;
        const { keys, log } = setUp();
        assert.equal(await keys.find('one'), null);
        assert.match(log.join('\n'), /^The issuer ci publishes no key that can verify an ID token/);
      });

    test('by keys that are no JSON', async () => {
      issuer.respond = (_, res) => res.end('<html>');
      assert.match(await failing(), /it is not JSON/);
    });

    test('and what was known before stays', async () => {
      const { keys, pass } = setUp();
      await keys.find('one');
      issuer.documents.jwks = { keys: 7 };
      pass(120 * minute);
      assert.equal((await keys.find('one'))?.algorithm, 'RS256');
    });
  });
});
