import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { copyCertificate } from '../support/certificate-files.ts';
import { tidegate } from '../support/processes.ts';

describe('a start that must fail', { timeout: 360_000 }, () => {
  let dir: string;
  const file = (name: string) => path.join(dir, name);
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    await copyCertificate(file('certs'), ['localhost']);
    await copyCertificate(file('other'), ['other.example']);
    await writeFile(file('htpasswd'), 'alice:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n');
    await writeFile(file('not-pem'), 'this is no PEM\n');
    await copyFile(file('other/server.key'), file('other.key'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const serve = (...settings: string[]) =>
    tidegate(
      [
        'serve',
        ...[
          'listen.host=127.0.0.1',
          'listen.port=0',
          `tls.cert=${file('certs/server.crt')}`,
          `tls.key=${file('certs/server.key')}`,
          `auth.htpasswd=${file('htpasswd')}`,
          'upstream.url=http://127.0.0.1:5000',
          ...settings,
        ].flatMap((setting) => ['--set', setting]),
      ],
      { cwd: dir, timeoutMs: 90_000 },
    );
  /** Fails with exit code 1 and these on stderr, in plain sentences: no stack, no names of classes. */
  const fails = async (settings: readonly string[], ...expected: RegExp[]) => {
    const { code, stderr } = await serve(...settings);
    assert.equal(code, 1, stderr);
    for (const pattern of expected) assert.match(stderr, pattern);
    assert.doesNotMatch(stderr, /\n\s+at |Error:|node:/);
    assert.ok(stderr.trimEnd().split('\n').length <= 2, stderr);
  };

  test('no certificate', () => fails([`tls.cert=${file('missing.crt')}`], /missing\.crt/));
  test('no key', () => fails([`tls.key=${file('missing.key')}`], /missing\.key/));
  test('a certificate that is none', () => fails([`tls.cert=${file('not-pem')}`], /not-pem/));
  test('a key that is none', () => fails([`tls.key=${file('not-pem')}`], /not-pem/));
  test('a key of another certificate', () =>
    fails([`tls.key=${file('other.key')}`], /other\.key|match|belong/));
  test('no CA for clients', () => fails([`tls.clientCa=${file('missing-ca')}`], /missing-ca/));
  test('no CA for upstream', () =>
    fails([`upstream.ca=${file('missing-ca')}`], /missing-ca/, /upstream\.ca/));
  test('no htpasswd file', () => fails([`auth.htpasswd=${file('missing')}`], /missing/));
  test('no htpasswd file, with a connection to Redis open by then', async () => {
    const redis = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(redis, 'listening');
    const { port } = redis.address() as AddressInfo;
    try {
      await fails(
        [
          ...['workers=1', 'cache.driver=redis', `cache.redis.url=redis://127.0.0.1:${port}`],
          `auth.htpasswd=${file('missing')}`,
        ],
        /missing/,
      );
    } finally {
      redis.close();
    }
  });
  test('an htpasswd file that is a folder', () => fails([`auth.htpasswd=${file('certs')}`], /certs/));
  test('no such configuration file', async () => {
    const { code, stderr } = await tidegate(['serve', '--config', file('missing.yml')], { cwd: dir });
    assert.equal(code, 1);
    assert.match(stderr, /missing\.yml/);
    assert.doesNotMatch(stderr, /\n\s+at /);
  });
  test('several wrong values: all of them, at once', async () => {
    const { code, stderr } = await serve(
      'listen.port=99999',
      'log.level=loud',
      'upstream.urll=x',
      'limits.idleTimeout=soon',
    );
    assert.equal(code, 1);
    for (const key of ['listen.port', 'log.level', 'upstream.urll', 'limits.idleTimeout'])
      assert.ok(stderr.includes(key), stderr);
  });
  test('a port that is taken', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await fails([`listen.port=${port}`], new RegExp(`127\\.0\\.0\\.1:${port}.*another program`));
    server.close();
  });
  test('an address that this machine does not have', () =>
    fails(['listen.host=192.0.2.1'], /192\.0\.2\.1.*no such address/));
  test('wrong usage: exit code 2', async () => {
    for (const args of [
      ['serve', '--nonsense'],
      ['serve', '--set', 'listen.port'],
      ['nonsense'],
      ['serve', 'extra'],
    ]) {
      const { code, stderr } = await tidegate(args, { cwd: dir });
      assert.equal(code, 2, stderr);
      assert.notEqual(stderr, '');
    }
  });
});
