import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { AcmeClient } from '../../../src/acme/acme-client.ts';
import { openAcmeFiles, type AcmeFiles } from '../../../src/acme/acme-files.ts';
import { obtainCertificate, type CertificateWish } from '../../../src/acme/obtain-certificate.ts';
import { OrderFailed } from '../../../src/acme/problem.ts';
import { createSelfSigned } from '../../../src/tls/issue/signed-structure.ts';

const wish: CertificateWish = {
  directory: 'https://ca.example.com/dir',
  hosts: ['registry.example.com'],
  email: null,
  challenge: 'tls-alpn-01',
  keyType: 'EC256',
  externalAccount: null,
};
const now = Date.parse('2026-11-29T12:00:00Z');
const hourMs = 3_600_000;

type Issued = {
  readonly names?: readonly string[];
  readonly fromMs?: number;
  readonly toMs?: number;
  readonly key?: KeyObject;
};

describe('a certificate that a CA issues', () => {
  let folder: string;
  let files: AcmeFiles;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'tidegate-acme-'));
    files = openAcmeFiles(folder, wish.directory);
    await files.prepare();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** A CA whose orders are valid at once, and which issues this for the key of the order under way. */
  const startCa = ({ names = wish.hosts, fromMs = 0, toMs = 90 * 24 * hourMs, key }: Issued) => {
    const asked: string[] = [];
    const order = {
      status: 'valid',
      authorizations: [],
      finalize: 'https://ca.example.com/f',
      certificate: 'https://ca.example.com/c',
    };
    const refuse = (what: string) => () => Promise.reject(new Error(`${what} was not expected`));
    const client: AcmeClient = {
      directory: () => Promise.resolve({ newNonce: '', newAccount: '', newOrder: '' }),
      createAccount: () => Promise.resolve('https://ca.example.com/account'),
      updateAccount: () => Promise.resolve('valid'),
      createOrder: () => {
        asked.push('new order');
        return Promise.resolve({ url: `https://ca.example.com/order/${asked.length}`, order });
      },
      order: () => {
        asked.push('known order');
        return Promise.resolve({ value: order, retryAfterMs: null });
      },
      certificate: async () => {
        const stored = await files.order();
        return createSelfSigned({
          key: key ?? createPrivateKey(stored?.key ?? ''),
          commonName: 'a CA',
          names,
          notBefore: new Date(now + fromMs),
          notAfter: new Date(now + toMs),
        });
      },
      authorization: refuse('an authorization'),
      respond: refuse('an answer'),
      finalize: refuse('a request'),
      renewalInfo: () => Promise.resolve(null),
      close: () => {},
    };
    return { client, asked };
  };
  const obtain = (client: AcmeClient) =>
    obtainCertificate({
      ...{ wish, client, files, replaces: null },
      publish: () => Promise.resolve(),
      signal: new AbortController().signal,
      now: () => now,
    });
  const certificate = () => readFile(path.join(folder, 'certificate.pem'), 'utf8').catch(() => null);

  for (const [what, issued, says] of [
    ['has ended', { fromMs: -2 * hourMs, toMs: -hourMs }, /it ended on/],
    ['begins in a year', { fromMs: 365 * 24 * hourMs, toMs: 400 * 24 * hourMs }, /it is not valid before/],
    ['is for another name', { names: ['evil.example.com'] }, /it is not for registry\.example\.com/],
    [
      'is for another key',
      { key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey },
      /another key/,
    ],
  ] satisfies [string, Issued, RegExp][])
    it(`does not replace the present one when it ${what}`, async () => {
      await obtain(startCa({}).client);
      const present = await certificate();
      await assert.rejects(
        obtain(startCa(issued).client),
        (error) => error instanceof OrderFailed && says.test(error.message),
      );
      assert.notEqual(present, null);
      assert.equal(await certificate(), present);
      assert.equal(await files.order(), null);
    });

  it('is not asked for without an end where the order never stays ready', async () => {
    const { client, asked } = startCa({});
    let isReady = false;
    const turn: AcmeClient['order'] = async (...of) => {
      const { value } = await client.order(...of);
      isReady = !isReady;
      return { value: { ...value, status: isReady ? 'ready' : 'pending' }, retryAfterMs: null };
    };
    const createOrder: AcmeClient['createOrder'] = async (...of) => {
      const { url, order } = await client.createOrder(...of);
      return { url, order: { ...order, status: 'pending' } };
    };
    const finalize = () => Promise.resolve();
    await assert.rejects(obtain({ ...client, createOrder, order: turn, finalize }), OrderFailed);
    assert.ok(asked.length < 30, `${asked.length} requests`);
  });

  it('is taken from a CA whose clock is a little ahead', async () => {
    await obtain(startCa({ fromMs: hourMs / 2 }).client);
    assert.notEqual(await certificate(), null);
  });

  it('is not fetched anew for an order that a killed process has left, and that is done', async () => {
    const { client, asked } = startCa({});
    // Killed after it has written the certificate.
    await obtainCertificate({
      ...{ wish, client, replaces: null },
      files: { ...files, removeOrder: () => Promise.resolve() },
      publish: () => Promise.resolve(),
      signal: new AbortController().signal,
      now: () => now,
    });
    const first = await certificate();
    assert.notEqual(await files.order(), null);
    await obtain(client);
    assert.deepEqual(asked, ['new order', 'new order']);
    assert.notEqual(await certificate(), first);
    assert.equal(await files.order(), null);
  });
});
