import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findAdmin } from '../../support/admin.ts';
import { copyCertificate } from '../../support/certificate-files.ts';
import { startFrontDoor } from '../../support/front-door.ts';
import { head } from '../../support/http-message.ts';
import { startMailServer } from '../../support/mail-server.ts';
import { tidegate } from '../../support/processes.ts';
import { authorized, exchange } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import { answerOk, startUpstream } from '../../support/scripted-upstream.ts';
import { startWebhook } from '../../support/webhook.ts';
import { workerPids } from '../../support/workers.ts';

const soon = ['upstream.probeInterval=100ms', 'alerts.upstreamDownFor=200ms'];
/** A registry that comes back at a port. */
const answerAt = async (port: number) => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(head('HTTP/1.1 200 OK', 'Content-Length: 0', 'Connection: close'));
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
};

describe('alerts', { timeout: 360_000 }, () => {
  for (const workers of [1, 2]) {
    test(`a registry that is away: one message, and one when it is back, workers: ${workers}`, async (t) => {
      const hook = await startWebhook();
      const mail = await startMailServer({});
      t.after(() => Promise.all([hook.close(), mail.close()]));
      const upstream = await startUpstream({ script: answerOk });
      const frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        set: [
          ...soon,
          `workers=${workers}`,
          `alerts.webhook=http://127.0.0.1:${hook.port}/hooks/s3cr3t?token=t0k3n`,
          `alerts.smtp.url=smtp://127.0.0.1:${mail.port}`,
          'alerts.smtp.from=tidegate@example.com',
          'alerts.smtp.to=alice@example.com,bob@example.com',
        ],
      });
      await upstream.close();
      const [first] = await hook.taken(1);
      assert.ok(first);
      assert.deepEqual([first.alert, first.state, first.endedAt], ['upstream-down', 'firing', null]);
      assert.match(first.text, /The registry has not answered for \d+ seconds.*ECONNREFUSED/);
      const server = await answerAt(upstream.port);
      const [, second] = await hook.taken(2);
      assert.ok(second);
      assert.deepEqual([second.alert, second.state], ['upstream-down', 'resolved']);
      assert.deepEqual([second.incident, second.startedAt], [first.incident, first.startedAt]);
      assert.ok((second.endedAt ?? '') > second.startedAt);
      await until('both mails have come', () => mail.mails.length === 2);
      const [down, back] = mail.mails;
      assert.deepEqual(down?.to, ['alice@example.com', 'bob@example.com']);
      assert.equal(down.from, 'tidegate@example.com');
      assert.match(down.text, /^Subject: \[Tidegate .*\] the registry does not answer\r$/m);
      assert.match(down.text, /^Auto-Submitted: auto-generated\r$/m);
      assert.match(back?.text ?? '', /^Subject: \[Tidegate .*\] over: the registry does not answer\r$/m);
      await frontDoor.stop(); // before the registry goes away again
      server.close();
      assert.equal(hook.alerts.length, 2, 'once, and not once for each worker');
      assert.equal(hook.attempts[0], 'POST /hooks/s3cr3t?token=t0k3n application/json');
      assert.doesNotMatch(JSON.stringify(frontDoor.log), /s3cr3t|t0k3n/);
    });
  }

  test('a webhook that refuses is tried again, one that hangs holds up nothing', async () => {
    const hook = await startWebhook([503, 302, 0]);
    const upstream = await startUpstream({ script: answerOk });
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: [
        ...soon,
        'admin.port=0',
        'alerts.certificateDays=365',
        `alerts.webhook=http://127.0.0.1:${hook.port}/`,
      ],
    });
    await upstream.close();
    await frontDoor.logged(
      ({ msg, reason }) => msg.includes('tried again') && reason === 'the webhook answered 503',
    );
    assert.equal((await exchange(frontDoor, authorized('GET /v2/'))).status, 502);
    await until('it was tried again', () => hook.attempts.length === 2);
    const { ready } = JSON.parse((await (await findAdmin(frontDoor)).ask('/readyz')).body) as {
      ready: boolean;
    };
    assert.equal(ready, false);
    await frontDoor.stop();
    assert.deepEqual(hook.alerts, []);
    await hook.close();
  });

  test('a certificate that ends soon, and one message about it', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    const { code, stderr } = await tidegate(
      ['cert', 'create', '--host', 'localhost', '--days', '5', '--out', dir],
      { cwd: dir },
    );
    assert.equal(code, 0, stderr);
    const hook = await startWebhook();
    const upstream = await startUpstream({ script: answerOk });
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: [
        ...soon,
        'admin.port=0',
        `tls.cert=${dir}/server.crt`,
        `tls.key=${dir}/server.key`,
        `alerts.webhook=http://127.0.0.1:${hook.port}/`,
      ],
    });
    const [alert] = await hook.taken(1);
    assert.equal(alert?.alert, 'certificate-ending');
    assert.match(alert.text, /expires in 4 days/);
    const admin = await findAdmin(frontDoor);
    const before = upstream.requests.length;
    await until('it has looked several times more', () => upstream.requests.length > before + 5);
    assert.equal(hook.alerts.length, 1);
    assert.equal((await admin.metrics()).get('tidegate_alerts_total{channel="webhook",result="sent"}'), 1);
    assert.equal((await admin.ask('/readyz')).status, 200, 'it is valid now');
    await frontDoor.stop();
    await upstream.close();
    await hook.close();
    await rm(dir, { recursive: true, force: true });
  });

  test('a worker that ends again and again', async () => {
    const hook = await startWebhook();
    const upstream = await startUpstream({ script: answerOk });
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['workers=2', 'admin.port=0', ...soon, `alerts.webhook=http://127.0.0.1:${hook.port}/`],
    });
    let [, pid = 0] = await workerPids(frontDoor);
    for (let end = 1; end <= 3; end += 1) {
      process.kill(pid, 'SIGKILL');
      if (end === 3) break;
      const last = pid;
      const started = await frontDoor.logged(
        ({ msg, workerPid }) => msg === 'a worker process is listening' && Number(workerPid) > last,
      );
      pid = started['workerPid'] as number;
    }
    const [alert] = await hook.taken(1);
    assert.deepEqual([alert?.alert, alert?.state], ['crash-loop', 'firing']);
    const metrics = await (await findAdmin(frontDoor)).metrics();
    assert.equal(metrics.get('tidegate_worker_crash_loop'), 1);
    assert.equal(metrics.get('tidegate_worker_restarts_total'), 3);
    await frontDoor.stop();
    await upstream.close();
    await hook.close();
  });
});

describe('alert test', { timeout: 360_000 }, () => {
  let dir: string;
  let caPath: string;
  let tls: { key: string; cert: string };
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    await copyCertificate(dir, ['localhost']);
    await copyCertificate(path.join(dir, 'other'), ['other.example']);
    caPath = path.join(dir, 'ca.crt');
    const read = (file: string) => readFile(path.join(dir, file), 'utf8');
    tls = { key: await read('server.key'), cert: await read('server.crt') };
  });
  after(() => rm(dir, { recursive: true, force: true }));
  const alertTest = (...settings: string[]) =>
    tidegate(['alert', 'test', ...settings.flatMap((setting) => ['--set', setting])], {
      cwd: dir,
      timeoutMs: 60_000,
    });
  const mailTo = (url: string, ...settings: string[]) =>
    alertTest(
      `alerts.smtp.url=${url}`,
      'alerts.smtp.from=tidegate@example.com',
      'alerts.smtp.to=alice@example.com',
      ...settings,
    );
  const login = ['alerts.smtp.username=door', 'alerts.smtp.password=pa55w0rd'];
  const user = { name: 'door', password: 'pa55w0rd' };

  test('without a way to send alerts: a sentence, exit code 1', async () => {
    const { code, stderr } = await alertTest();
    assert.equal(code, 1);
    assert.match(stderr, /^No alerts are sent: set alerts\.webhook[^\n]*\n$/);
  });

  test('webhook and mail: each is tried, and what came of it is said', async () => {
    const hook = await startWebhook();
    const mail = await startMailServer({});
    const url = `smtp://127.0.0.1:${mail.port}`;
    const { code, stdout, stderr } = await mailTo(url, `alerts.webhook=http://127.0.0.1:${hook.port}/x`);
    assert.deepEqual([code, stdout, stderr], [0, 'webhook: sent\nmail: sent\n', '']);
    assert.deepEqual([hook.alerts[0]?.alert, hook.alerts[0]?.state], ['test', 'test']);
    assert.match(mail.mails[0]?.text ?? '', /This is a test: alerts of Tidegate arrive here\./);
    assert.equal(mail.mails[0]?.secure, false);
    await hook.close();
    await mail.close();
  });

  test('one that fails does not keep the other from being tried; exit code 1, and no secret is shown', async () => {
    const hook = await startWebhook([404]);
    const mail = await startMailServer({});
    const url = `smtp://127.0.0.1:${mail.port}`;
    const { code, stdout, stderr } = await mailTo(url, `alerts.webhook=http://127.0.0.1:${hook.port}/s3cr3t`);
    assert.deepEqual([code, stdout], [1, 'mail: sent\n']);
    assert.match(stderr, /^webhook: not sent \(the webhook answered 404\)/);
    assert.doesNotMatch(stderr, /s3cr3t/);
    await hook.close();
    await mail.close();
  });

  test('an https webhook: its certificate must be of a known CA, and of alerts.ca only where that is set', async () => {
    const hook = await startWebhook([], tls);
    const url = `alerts.webhook=https://127.0.0.1:${hook.port}/`;
    const unknown = await alertTest(url);
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /certificate/);
    assert.deepEqual(hook.attempts, []);
    const known = await alertTest(url, `alerts.ca=${caPath}`);
    assert.deepEqual([known.code, known.stdout], [0, 'webhook: sent\n']);
    await hook.close();
  });

  for (const [name, server] of [
    ['smtps', () => startMailServer({ tls, user })],
    ['smtp', () => startMailServer({ startTls: tls, user })],
  ] as const) {
    test(`${name} with a password: only over TLS with a certificate of a known CA`, async () => {
      const mail = await server();
      const url = `${name}://127.0.0.1:${mail.port}`;
      const known = await mailTo(url, ...login, `alerts.ca=${caPath}`);
      assert.deepEqual([known.code, known.stdout, known.stderr], [0, 'mail: sent\n', '']);
      assert.deepEqual([mail.mails[0]?.user, mail.mails[0]?.secure], ['door', true]);
      const other = await mailTo(url, ...login, `alerts.ca=${path.join(dir, 'other/ca.crt')}`);
      assert.equal(other.code, 1, other.stdout);
      assert.match(other.stderr, /^mail: not sent \([^\n]*certificate[^\n]*\n$/);
      assert.deepEqual([mail.mails.length, mail.passwords.length], [1, 1]);
      await mail.close();
    });
  }

  test('a server that offers no TLS where it is demanded is not shown the password', async () => {
    const mail = await startMailServer({ user });
    const { code, stderr } = await mailTo(`smtp://127.0.0.1:${mail.port}`, ...login, `alerts.ca=${caPath}`);
    assert.equal(code, 1);
    assert.match(stderr, /^mail: not sent/);
    assert.deepEqual([mail.mails, mail.passwords], [[], []]);
    await mail.close();
  });

  test('a wrong password, and a server that takes nothing: said without the password', async () => {
    const mail = await startMailServer({ user: { ...user, password: 'another' } });
    const wrong = await mailTo(`smtp://127.0.0.1:${mail.port}`, ...login);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /^mail: not sent \(.*wrong name or password/);
    assert.doesNotMatch(wrong.stderr, /pa55w0rd/);
    await mail.close();
    const full = await startMailServer({ refusals: 1 });
    const refused = await mailTo(`smtp://127.0.0.1:${full.port}`);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /try again later/);
    await full.close();
  });

  test('config show prints neither webhook nor password', async () => {
    const { code, stdout } = await tidegate(
      [
        'config',
        'show',
        ...['alerts.webhook=https://hooks.example.com/s3cr3t', ...login].flatMap((setting) => [
          '--set',
          setting,
        ]),
      ],
      { cwd: dir },
    );
    assert.equal(code, 0);
    assert.doesNotMatch(stdout, /s3cr3t|pa55w0rd/);
    assert.match(stdout, /webhook: "\*+"/);
  });

  test('a CA that cannot be used is said at once, by alert test and by serve', async () => {
    for (const [file, reason] of [
      ['missing.pem', /missing\.pem does not exist: set alerts\.ca/],
      ['server.key', /server\.key holds no certificate.*alerts\.ca/],
    ] as const) {
      const settings = ['alerts.webhook=https://127.0.0.1:1/', `alerts.ca=${path.join(dir, file)}`];
      const { code, stderr } = await alertTest(...settings);
      assert.equal(code, 1);
      assert.match(stderr, reason);
      await assert.rejects(startFrontDoor({ upstreamUrl: 'http://127.0.0.1:1', set: settings }), reason);
    }
  });
});
