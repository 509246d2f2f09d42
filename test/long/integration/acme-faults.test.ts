import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import {
  acmeFolder,
  host,
  issued,
  loggedAfter,
  presented,
  readProgress,
  refused,
  startAcmeDoor,
  stopDoors,
  untilIssued,
} from '../../support/acme.ts';
import { refusal, startAcmeProxy, type AcmeProxy } from '../../support/acme-proxy.ts';
import { findAdmin, watched } from '../../support/admin.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { startPebble, type Pebble } from '../../support/pebble.ts';
import { until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const skip = unlessInstalled('pebble', 'pebble-challtestsrv');

/** The orders that were asked for. */
const ordersOf = ({ requests }: AcmeProxy) => requests.filter(({ path: at }) => at === '/order-plz');

describe('ACME with faults', { skip, timeout: 600_000 }, () => {
  let pebble: Pebble;
  let proxy: AcmeProxy;
  let root: string;
  before(async () => {
    pebble = await startPebble({ env: { PEBBLE_AUTHZREUSE: '0' } });
    root = await pebble.root();
  });
  beforeEach(async () => {
    proxy = await startAcmeProxy(pebble);
  });
  afterEach(async () => {
    await stopDoors();
    await proxy.stop();
  });
  after(() => pebble.stop());

  const start = (set: readonly string[] = []) => startAcmeDoor({ pebble, directory: proxy.directory, set });
  /** Waits for a failure that says so, heals what caused it, asks for another try, and waits for the certificate. */
  const heals = async (
    door: FrontDoor,
    says: RegExp,
    heal: () => unknown = () => proxy.intercept(() => null),
  ) => {
    const line = await door.logged(({ msg }) => refused(msg));
    assert.match(line.msg, says);
    await heal();
    const from = door.log.length;
    door.process.kill('SIGHUP');
    await loggedAfter(door, from, issued);
    await until('it is in use', async () =>
      String((await presented(door.port)).issuer.CN).startsWith('Pebble'),
    );
    return line;
  };
  const waitOf = async (door: FrontDoor) => {
    const { retryAtMs } = (await readProgress(door)) as { retryAtMs: number };
    return (retryAtMs - Date.now()) / 1000;
  };

  test('the CA is away', async () => {
    await proxy.stop();
    const door = await start();
    const line = await door.logged(({ msg }) => refused(msg));
    assert.match(
      line.msg,
      /The CA cannot be asked \(https:.*ECONNREFUSED.*A self-signed one answers meanwhile\./,
    );
    // Not reached is tried again soon, and counts as no failed order.
    assert.ok((await waitOf(door)) <= 11);
    assert.deepEqual((await readProgress(door))['failedAtMs'], []);
    proxy = await startAcmeProxy(pebble);
  });

  test("the directory's server is verified with another CA", async () => {
    const other = path.join(path.dirname(pebble.caPath), 'root.pem');
    await writeFile(other, root);
    const door = await start([`tls.acme.ca=${other}`]);
    const line = await door.logged(({ msg }) => refused(msg));
    assert.match(line.msg, /server's certificate is not signed by a trusted CA: set tls\.acme\.ca to /);
  });

  for (const [what, kind, answer, says] of [
    [
      'wants patience',
      'order',
      refusal(429, 'rateLimited', 'too many certificates', { 'Retry-After': '86400' }),
      /429 rateLimited\): too many certificates/,
    ],
    [
      'refuses the name',
      'order',
      refusal(400, 'rejectedIdentifier', 'not this name'),
      /400 rejectedIdentifier\): not this name/,
    ],
    ['fails inside', 'order', refusal(500, 'serverInternal', 'oops'), /500 serverInternal\): oops/],
    ['refuses the request for the certificate', 'finalize', refusal(400, 'badCSR', 'no'), /badCSR/],
    [
      'answers with a page',
      'order',
      { status: 503, body: '<html>maintenance</html>' },
      /answers 503, and does not say why/,
    ],
    [
      'answers with JSON that is none',
      'directory',
      { status: 200, body: '{"newNonce":' },
      /directory is not JSON/,
    ],
    [
      'answers with something else',
      'directory',
      { status: 200, body: '[1,2,3]' },
      /directory is not as RFC 8555 has it/,
    ],
    [
      'names addresses without TLS',
      'directory',
      {
        status: 200,
        body: JSON.stringify({
          newNonce: 'http://127.0.0.1/',
          newAccount: 'http://127.0.0.1/',
          newOrder: 'http://127.0.0.1/',
        }),
      },
      /it named a URL that is not https/,
    ],
    [
      'leads elsewhere',
      'directory',
      { status: 302, headers: { Location: 'https://127.0.0.1/' } },
      /redirects are not followed/,
    ],
    [
      'sends without an end',
      'directory',
      { status: 200, body: Buffer.alloc(300_000, ' ') },
      /larger than 262144 bytes/,
    ],
    ['sends no certificate', 'certificate', { status: 200, body: 'hello' }, /certificate cannot be used/],
    ['gives no nonce', 'nonce', { status: 200 }, /gives no nonce/],
    [
      'does not say where the order is',
      'order',
      {
        status: 201,
        body: JSON.stringify({ status: 'pending', authorizations: [], finalize: 'https://localhost/' }),
      },
      /does not say where/,
    ],
    [
      'is a day ahead',
      'directory',
      { status: 200, headers: { Date: new Date(Date.now() + 86_400_000).toUTCString() }, body: '{}' },
      /clock is 24 hours behind the CA's/,
    ],
  ] as const)
    test(`the CA ${what}`, async () => {
      proxy.intercept((request) => (request.kind === kind ? answer : null));
      const door = await start();
      if (what === 'wants patience') {
        const line = await door.logged(({ msg }) => refused(msg));
        assert.match(line.msg, says);
        // What the CA has put off, nothing makes earlier: neither a reload nor a new start.
        const asked = proxy.requests.length;
        door.process.kill('SIGHUP');
        await door.logged(({ msg, trigger }) => msg === 'reloaded' && trigger === 'request');
        assert.ok((await waitOf(door)) > 86_000);
        assert.equal(proxy.requests.length, asked);
        return;
      }
      await heals(door, says);
    });

  test('the CA sends a byte now and then', async () => {
    proxy.intercept(({ kind }) =>
      kind === 'directory'
        ? (res) => {
            res.writeHead(200);
            const sending = setInterval(() => res.write(' '), 500);
            res.on('close', () => clearInterval(sending));
          }
        : null,
    );
    const door = await start();
    await heals(door, /it did not answer within 30 seconds/);
  });

  test('the CA refuses every nonce, and then one after the other', async () => {
    let times = 0;
    proxy.intercept(({ method }) => {
      times += 1;
      return method === 'POST' && times < 60
        ? refusal(400, 'badNonce', 'no', { 'Replay-Nonce': `n${times}` })
        : null;
    });
    const door = await start();
    await heals(door, /badNonce/, () => {
      times = 1000;
    });
  });

  test('the CA does not reach us: an order fails, and the next one is a new one', async () => {
    const door = await start();
    pebble.lead({ tls: [] });
    await heals(
      door,
      /could not check registry\.example\.com by tls-alpn-01.*port 443 of that name must lead to listen\.port/,
      () => pebble.lead({ tls: [door.port] }),
    );
    assert.equal(ordersOf(proxy).length, 2);
    assert.equal(((await readProgress(door))['failedAtMs'] as number[]).length, 1);
  });

  test('at most five orders fail in an hour, whatever is asked for, and by whichever program', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-acme-five-'));
    const door = await start([`tls.acme.dir=${dir}/acme`]);
    pebble.lead({ tls: [] });
    const failures = () => door.log.filter(({ msg }) => refused(msg)).length;
    for (let failed = 1; failed <= 5; failed += 1) {
      await until(`failure ${failed}`, () => failures() === failed);
      door.process.kill('SIGHUP');
      await until(
        `reload ${failed}`,
        () => door.log.filter(({ msg }) => msg === 'reloaded').length >= failed,
      );
    }
    await door.stop();
    const asked = ordersOf(proxy);
    assert.equal(asked.length, 5);
    const again = await start([`tls.acme.dir=${dir}/acme`, ...watched]);
    const admin = await findAdmin(again);
    const next = 'tidegate_certificate_renewal_timestamp_seconds';
    await until('it has looked', async () => ((await admin.metrics()).get(next) ?? 0) > 0);
    const waitSeconds = ((await admin.metrics()).get(next) ?? 0) - Date.now() / 1000;
    assert.ok(waitSeconds > 3300 && waitSeconds < 3700, String(waitSeconds));
    assert.equal(ordersOf(proxy).length, 5);
    await again.stop();
    await rm(dir, { recursive: true });
  });

  test('the account was deactivated, or the CA has forgotten it: a new one is made', async () => {
    const door = await start();
    await untilIssued(door);
    const folder = acmeFolder(door);
    const readAccount = async () => {
      const [name = ''] = (await readdir(folder)).filter((each) => each.startsWith('account-'));
      return JSON.parse(await readFile(path.join(folder, name), 'utf8')) as { url: string; key: string };
    };
    const first = await readAccount();
    await rm(path.join(folder, 'certificate.pem'));
    let isDeactivated = true;
    proxy.intercept(({ path: at, method }) =>
      isDeactivated && method === 'POST' && at.startsWith('/my-account/')
        ? refusal(403, 'unauthorized', 'account is deactivated')
        : null,
    );
    door.process.kill('SIGHUP');
    await untilIssued(door, 2);
    const second = await readAccount();
    assert.notEqual(first.url, second.url);
    assert.notEqual(first.key, second.key);
    isDeactivated = false;
    // The CA of tests remembers nothing after its end.
    await pebble.kill();
    await pebble.start();
    root = await pebble.root();
    await rm(path.join(folder, 'certificate.pem'));
    door.process.kill('SIGHUP');
    await untilIssued(door, 3);
    assert.equal((await presented(door.port, { ca: root })).subjectaltname, `DNS:${host}`);
  });

  test('an order expires, or the CA has forgotten it: another is made with the same account', async () => {
    proxy.intercept(({ kind }) => (kind === 'finalize' ? { status: 503 } : null));
    const door = await start();
    await door.logged(({ msg }) => refused(msg));
    const file = path.join(acmeFolder(door), 'order.json');
    const order = JSON.parse(await readFile(file, 'utf8')) as { url: string; key: string };
    await writeFile(
      file,
      JSON.stringify({ ...order, url: `${proxy.directory.replace('/dir', '')}/my-order/none` }),
    );
    proxy.intercept(() => null);
    door.process.kill('SIGHUP');
    await untilIssued(door);
    const accounts = proxy.requests.filter(({ path: at }) => at === '/sign-me-up');
    assert.equal(new Set(accounts.map(({ payload }) => JSON.stringify(payload))).size, 1);
  });

  test('an order that was interrupted goes on, with its key', async () => {
    proxy.intercept(({ kind }) => (kind === 'finalize' ? { status: 503 } : null));
    const door = await start();
    await door.logged(({ msg }) => refused(msg));
    const order = JSON.parse(await readFile(path.join(acmeFolder(door), 'order.json'), 'utf8')) as {
      key: string;
    };
    proxy.intercept(() => null);
    door.process.kill('SIGHUP');
    await untilIssued(door);
    const pem = await readFile(path.join(acmeFolder(door), 'certificate.pem'), 'utf8');
    assert.ok(pem.startsWith(order.key));
    assert.equal(ordersOf(proxy).length, 1);
  });

  test('names are added and removed, by a reload: the old certificate serves until there is another', async () => {
    const door = await startFrontDoor({
      upstreamUrl: 'http://127.0.0.1:1',
      hosts: null,
      config: `tls: { acme: { hosts: [${host}] } }\n`,
      set: [`tls.acme.directory=${proxy.directory}`, `tls.acme.ca=${pebble.caPath}`],
    });
    pebble.lead({ tls: [door.port] });
    door.process.kill('SIGHUP');
    await untilIssued(door);
    let isHeld = true;
    proxy.intercept(({ kind }) =>
      isHeld && kind === 'order' ? refusal(500, 'serverInternal', 'later') : null,
    );
    const from = door.log.length;
    await writeFile(
      path.join(door.dir, 'tidegate.yml'),
      `tls: { acme: { hosts: [${host}, b.example.com] } }\n`,
    );
    const line = await loggedAfter(door, from, refused);
    assert.match(line.msg, /The present one stays in use\./);
    assert.equal((await presented(door.port, { ca: root })).subjectaltname, `DNS:${host}`);
    isHeld = false;
    door.process.kill('SIGHUP');
    await untilIssued(door, 2);
    const both = await presented(door.port, { ca: root, servername: 'b.example.com' });
    assert.equal(both.subjectaltname, `DNS:${host}, DNS:b.example.com`);
    // One name less needs no other certificate.
    await writeFile(path.join(door.dir, 'tidegate.yml'), `tls: { acme: { hosts: [b.example.com] } }\n`);
    await door.logged(({ msg, changed }) => msg === 'reloaded' && String(changed) === 'tls.acme.hosts');
    assert.equal(door.log.filter(({ msg }) => issued(msg)).length, 2);
    await door.stop();
  });

  test('another directory: a certificate for trials is replaced at once, and has an account of its own', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-acme-trials-'));
    const trial = await start([`tls.acme.dir=${dir}/acme`]);
    await untilIssued(trial);
    await trial.stop();
    const door = await startAcmeDoor({ pebble, set: [`tls.acme.dir=${dir}/acme`] });
    await untilIssued(door);
    const accounts = (await readdir(`${dir}/acme`)).filter((name) => name.startsWith('account-'));
    assert.equal(accounts.length, 2);
    await door.stop();
    await rm(dir, { recursive: true });
  });

  describe('on a small disk', { skip: process.getuid?.() === 0 ? false : 'mounting needs root' }, () => {
    let dir: string;
    const remount = (options: string) => execFileSync('mount', ['-o', `remount,${options}`, dir]);
    beforeEach(async () => {
      dir = await mkdtemp(path.join(tmpdir(), 'tidegate-acme-disk-'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', dir]);
    });
    afterEach(async () => {
      await stopDoors();
      execFileSync('umount', [dir]);
      await rm(dir, { recursive: true });
    });

    test('that is full, nothing is ordered', async () => {
      await writeFile(path.join(dir, 'fill'), Buffer.alloc(65_536));
      const door = await start([`tls.acme.dir=${dir}`]);
      await heals(door, /cannot be written to \(ENOSPC\): make room there\./, () => {
        assert.deepEqual(ordersOf(proxy), []);
        return rm(path.join(dir, 'fill'));
      });
    });

    test('that is full when the certificate comes, it is fetched again later, from the same order', async () => {
      proxy.intercept(async ({ kind }) => {
        if (kind === 'certificate')
          await writeFile(path.join(dir, 'fill'), Buffer.alloc(65_536)).catch(() => {});
        return null;
      });
      const door = await start([`tls.acme.dir=${dir}`]);
      await heals(door, /ENOSPC/, async () => {
        proxy.intercept(() => null);
        await rm(path.join(dir, 'fill'));
      });
      assert.equal(ordersOf(proxy).length, 1);
    });

    test('that is read-only, the old certificate serves on', async () => {
      const door = await start([`tls.acme.dir=${dir}`]);
      await untilIssued(door);
      await door.stop();
      remount('ro');
      const names = [host, 'b.example.com'];
      const other = await startAcmeDoor({
        pebble,
        directory: proxy.directory,
        names,
        set: [`tls.acme.dir=${dir}`],
      });
      const line = await other.logged(({ msg }) => refused(msg));
      assert.match(line.msg, /EROFS\): it is read-only: set tls\.acme\.dir.* The present one stays in use\./);
      assert.equal((await presented(other.port, { ca: root })).subjectaltname, `DNS:${host}`);
      remount('rw');
      other.process.kill('SIGHUP');
      await untilIssued(other);
    });
  });

  test('a certificate whose file is damaged is replaced; at a reload the one in use stays', async () => {
    const door = await start();
    await untilIssued(door);
    const file = path.join(acmeFolder(door), 'certificate.pem');
    const before = new X509Certificate((await presented(door.port)).raw);
    proxy.intercept(({ kind }) => (kind === 'order' ? { status: 503 } : null));
    await writeFile(file, 'nonsense');
    await chmod(file, 0o600);
    const from = door.log.length;
    door.process.kill('SIGHUP');
    await loggedAfter(door, from, refused);
    assert.equal((await presented(door.port)).fingerprint256, before.fingerprint256);
    proxy.intercept(() => null);
    door.process.kill('SIGHUP');
    await untilIssued(door, 2);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.notEqual((await presented(door.port, { ca: root })).fingerprint256, before.fingerprint256);
  });
});
