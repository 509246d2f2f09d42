import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { copyCertificate } from '../../support/certificate-files.ts';
import { createClientPair, type ClientPair } from '../../support/client-certificates.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { run } from '../../support/processes.ts';
import { authorized, connectClient, exchange } from '../../support/raw-client.ts';
import { startTlsRedis, until } from '../../support/redis.ts';
import { isRefusal, listenToLog, replaceFile, sighup } from '../../support/reload.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';
import { workerPids } from '../../support/workers.ts';

const get = authorized('GET /v2/app/blobs/x');
const bom = '\uFEFF';

/** Whoever joins files with `cat` gets these; OpenSSL alone reads one certificate of them, or none, and says nothing. */
describe('PEM files that were put together', { timeout: 360_000 }, () => {
  let dir: string;
  let upstream: ScriptedUpstream;
  let secure: ScriptedUpstream;
  const file = (name: string) => path.join(dir, name);
  const read = (name: string) => readFile(file(name), 'utf8');
  const glue = (...parts: string[]) => parts.map((part) => part.trimEnd()).join('');
  const write = async (name: string, content: string) => {
    await writeFile(file(name), content, { mode: 0o600 });
    return file(name);
  };
  const clients: ClientPair[] = [];
  let clientCas: string[];

  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    await copyCertificate(file('up'), ['upstream.example']);
    for (const name of ['one', 'two']) clients.push(await createClientPair(file(name), name));
    clientCas = [await read('one/client-ca.crt'), await read('two/client-ca.crt')];
    upstream = await startUpstream({ script: answerOk });
    secure = await startUpstream({
      script: answerOk,
      tls: { cert: await read('up/server.crt'), key: await read('up/server.key') },
    });
  });
  after(async () => {
    await upstream.close();
    await secure.close();
    await rm(dir, { recursive: true, force: true });
  });

  const statusWith = async (door: FrontDoor, pair: object): Promise<number> => {
    const client = await connectClient(door, pair);
    client.send(get);
    const { status } = await client.response();
    client.leave();
    return status;
  };

  test(
    'tls.cert: a chain of two files with a byte order mark each is shown whole',
    { skip: unlessInstalled('openssl') },
    async () => {
      await copyCertificate(file('own'), ['localhost']);
      const parts = (await read('own/server.crt'))
        .split(/(?<=END CERTIFICATE-----\n)/)
        .filter((part) => part !== '');
      assert.equal(parts.length, 2);
      const cert = await write(
        'bom.crt',
        parts.map((part) => bom + part).join('') + (await read('own/server.key')),
      );
      const frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        set: [`tls.cert=${cert}`, `tls.key=${file('own/server.key')}`],
      });
      const shown = await run('openssl', [
        's_client',
        '-connect',
        `127.0.0.1:${frontDoor.port}`,
        '-showcerts',
      ]);
      const certificates = shown.stdout.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----\n/g);
      assert.deepEqual(certificates, parts);
      const line = await frontDoor.logged(({ msg }) => msg.includes('not used'));
      assert.match(line.msg, /bom\.crt: not used: line \d+, a private key\.$/);
      await frontDoor.stop();
    },
  );

  test('tls.clientCa: clients of both CAs come in, of two that stand on one line', async () => {
    const ca = await write('clients.pem', glue(...clientCas));
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: [`tls.clientCa=${ca}`] });
    for (const pair of clients) assert.equal(await statusWith(frontDoor, pair), 200);
    await assert.rejects(statusWith(frontDoor, {}));
    await frontDoor.stop();
  });

  test('upstream.ca: the second of two on one line is trusted', async () => {
    const ca = await write('upstream.pem', glue(clientCas[0] ?? '', await read('up/ca.crt')));
    const frontDoor = await startFrontDoor({ upstreamUrl: secure.url, set: [`upstream.ca=${ca}`] });
    assert.equal((await exchange(frontDoor, get)).status, 200);
    await frontDoor.stop();
  });

  test(
    'upstream.ca: a TRUSTED CERTIFICATE counts for what it is trusted for',
    { skip: unlessInstalled('openssl') },
    async () => {
      for (const [option, status] of [
        ['-addtrust', 200],
        ['-addreject', 502],
      ] as const) {
        const ca = file(`trusted${option}.pem`);
        const made = await run('openssl', [
          'x509',
          '-in',
          file('up/ca.crt'),
          '-trustout',
          option,
          'serverAuth',
          '-out',
          ca,
        ]);
        assert.equal(made.code, 0, made.stderr);
        await writeFile(ca, bom + (await readFile(ca, 'utf8')));
        const frontDoor = await startFrontDoor({ upstreamUrl: secure.url, set: [`upstream.ca=${ca}`] });
        assert.equal((await exchange(frontDoor, get)).status, status, option);
        await frontDoor.stop();
      }
    },
  );

  test('a live renewal by a file that leaves nothing is refused, and one that is glued serves both', async () => {
    const ca = await write('renewed.pem', clientCas[0] ?? '');
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: [`tls.clientCa=${ca}`] });
    const [one = {}, two = {}] = clients;
    for (const [content, reason] of [
      [
        (await read('two/client-ca.crt')).slice(0, 300),
        /renewed\.pem: the certificate on line 1 is damaged \(it has no END line/,
      ],
      [
        await read('one/one.key'),
        /renewed\.pem holds no certificate in PEM form \(what it holds: line 1, a private key\)/,
      ],
      [
        `-${clientCas[1] ?? ''}`.replace('------', '----'),
        /renewed\.pem: the certificate on line 1 is damaged \(it needs five hyphens/,
      ],
    ] as const) {
      const logged = listenToLog(frontDoor);
      await replaceFile(ca, content);
      assert.match((await logged((line) => line.msg === 'reloaded' || isRefusal(line))).msg, reason);
      assert.equal(await statusWith(frontDoor, one), 200);
      await assert.rejects(statusWith(frontDoor, two));
    }
    const logged = listenToLog(frontDoor);
    await replaceFile(ca, glue(...clientCas) + clientCas.join(''));
    assert.deepEqual((await logged(({ msg }) => msg === 'reloaded'))['changed'], ['tls.clientCa']);
    for (const pair of clients) assert.equal(await statusWith(frontDoor, pair), 200);
    const warning = await logged(({ msg }) => msg.includes('not used'));
    assert.match(
      warning.msg,
      /renewed\.pem: not used: line \d+, the same certificate as on line 1; line \d+, the same/,
    );
    await frontDoor.stop();
  });

  test(
    'cache.redis.ca: trusted at the second place; what is done to the file meanwhile is no matter for new workers',
    { skip: unlessInstalled('redis-server') },
    async () => {
      const redis = await startTlsRedis('secret');
      const good = glue(clientCas[0] ?? '', await readFile(redis.caPath, 'utf8'));
      const ca = await write('redis.pem', good);
      const frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        set: [
          'workers=2',
          'cache.driver=redis',
          `cache.redis.url=rediss://${redis.address}`,
          `cache.redis.ca=${ca}`,
        ],
        env: { TIDEGATE_CACHE_REDIS_PASSWORD: 'secret' },
      });
      // Whatever it keeps, it keeps over this connection.
      await until('the cache is in Redis', async () => {
        await exchange(frontDoor, authorized('GET /v2/app/manifests/1'));
        return (await redis.admin.dbsize()) > 0;
      });
      await replaceFile(ca, 'nothing');
      const refused = await sighup(frontDoor);
      assert.match(
        refused.msg,
        /redis\.pem holds no certificate in PEM form \(it has no BEGIN line\): set cache\.redis\.ca/,
      );
      const before = await workerPids(frontDoor);
      process.kill(before[0] ?? assert.fail(), 'SIGKILL');
      await until('the worker is replaced', async () => {
        const now = await workerPids(frontDoor);
        return now.length === 2 && !now.includes(before[0] ?? 0);
      });
      assert.equal((await exchange(frontDoor, get)).status, 200);
      await replaceFile(ca, good.slice(0, good.indexOf('-----END') + 25));
      assert.deepEqual((await sighup(frontDoor))['needRestart'], ['cache.redis.ca']);
      await frontDoor.stop();
      await redis.stop();
    },
  );
});
