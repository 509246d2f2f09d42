import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { connect as connectTcp, createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { createCacheClient } from '../../support/cache-client.ts';
import { copyCertificate, createClientPair } from '../../support/certificate-files.ts';
import { digestOf, ociManifest, pushBlob } from '../../support/cache-load.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head, values } from '../../support/http-message.ts';
import { anonymous, authorized, connectClient, exchange, type RawClient } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import {
  changedKeys,
  isRefusal,
  listenToLog,
  makeOtherCertificate,
  replaceConfig,
  replaceFile,
  sighup,
} from '../../support/reload.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';
import { startV1Registry } from '../../support/v1-registry.ts';
import { connectToWorker, workerPids } from '../../support/workers.ts';

/** The names in the certificate that a new connection is shown. */
async function shownNames(frontDoor: FrontDoor, options: ConnectionOptions): Promise<string> {
  const client = await connectClient(frontDoor, options);
  const { subjectaltname = '' } = client.socket.getPeerCertificate();
  client.leave();
  return subjectaltname;
}
const realmOf = async (frontDoor: FrontDoor): Promise<string> =>
  values(await exchange(frontDoor, anonymous('GET /v2/x')), 'www-authenticate')[0] ?? '';
const realm = (name: string) => `auth: { realm: ${name} }\n`;
const since = (frontDoor: FrontDoor, from: number) => frontDoor.log.slice(from);
/** Replaces certificate and key by others, and says whom to trust from then on. */
async function exchangeCertificate(frontDoor: FrontDoor, betweenMs = 0): Promise<{ ca: string }> {
  const { dir } = await makeOtherCertificate(frontDoor);
  const read = (name: string) => readFile(path.join(dir, name), 'utf8');
  await replaceFile(path.join(frontDoor.dir, 'certs/server.crt'), await read('server.crt'));
  if (betweenMs > 0) await delay(betweenMs);
  await replaceFile(path.join(frontDoor.dir, 'certs/server.key'), await read('server.key'));
  return { ca: await read('ca.crt') };
}

/** A handshake of TLS 1.2 that stops before the client's certificate until it is told to go on. */
async function beginHandshake(
  frontDoor: FrontDoor,
  options: ConnectionOptions,
): Promise<{ socket: TLSSocket; finish: () => Promise<void>; received: Promise<string> }> {
  let goOn = () => {};
  const released = new Promise<void>((resolve) => (goOn = resolve));
  const relay = createServer((client) => {
    relay.close();
    const server = connectTcp(frontDoor.port, '127.0.0.1');
    server.pipe(client);
    client.once('data', (hello: Buffer) => {
      client.pause();
      server.write(hello);
      void released.then(() => client.pipe(server));
    });
    for (const one of [client, server]) one.on('error', () => {});
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const { port } = relay.address() as AddressInfo;
  const socket = connectTls({
    ...{ host: '127.0.0.1', port, ca: frontDoor.ca, servername: 'localhost', maxVersion: 'TLSv1.2' },
    ...options,
  });
  let text = '';
  socket.on('data', (piece: Buffer) => (text += piece.toString()));
  socket.on('error', () => {});
  // Not events.once, which rejects on 'error'.
  const received = new Promise<string>((resolve) => socket.on('close', () => resolve(text)));
  const secure = new Promise<void>((resolve) => socket.on('secureConnect', resolve));
  await delay(200); // until Tidegate has answered the hello
  return {
    socket,
    received,
    finish: async () => {
      goOn();
      await Promise.race([secure, received]);
    },
  };
}

for (const workers of [1, 2]) {
  describe(
    `a reload, workers: ${workers}`,
    { timeout: 480_000, skip: unlessInstalled('docker-registry') },
    () => {
      let registry: Registry;
      before(async () => {
        registry = await startRegistry();
      });
      after(() => registry.stop());
      const start = (config = '') =>
        startFrontDoor({ upstreamUrl: registry.url, set: [`workers=${workers}`], config });

      test('loses no request and cuts no transfer, while everything changes', async () => {
        const frontDoor = await start(realm('Before'));
        const client = createCacheClient(frontDoor);
        const blob = randomBytes(24 * 1024 * 1024);
        await pushBlob(client, 'app', blob);
        client.close();

        const download = await connectClient(frontDoor);
        download.send(authorized(`GET /v2/app/blobs/${digestOf(blob)}`));
        const { status } = await download.responseHead();
        assert.equal(status, 200);
        const hash = createHash('sha256').update(await download.reader.take(1024 * 1024));

        const layer = randomBytes(3 * 1024 * 1024);
        const upload = await connectClient(frontDoor);
        upload.send(authorized('POST /v2/app/blobs/uploads/', 'Content-Length: 0'));
        const location = new URL(values(await upload.response(), 'location')[0] ?? '', 'https://x');
        upload.send(
          authorized(`PATCH ${location.pathname}${location.search}`, `Content-Length: ${layer.length}`),
          layer.subarray(0, 1024 * 1024),
        );

        let loading = true;
        let answered = 0;
        const clients = await Promise.all(Array.from({ length: 8 }, () => connectClient(frontDoor)));
        const load = Promise.all(
          clients.map(async (each) => {
            for (let count = 0; loading && count < 100_000; count += 1) {
              each.send(authorized('GET /v2/'));
              assert.equal((await each.response()).status, 200);
              answered += 1;
            }
          }),
        );
        const someMore = async () => {
          const before = answered;
          await until('more requests are answered', () => Promise.resolve(answered > before + 200));
        };
        await someMore();
        const from = frontDoor.log.length;
        const { ca } = await exchangeCertificate(frontDoor);
        assert.equal((await sighup(frontDoor)).msg, 'reloaded');
        await someMore();
        const line = await readFile(frontDoor.htpasswdPath, 'utf8');
        await replaceFile(frontDoor.htpasswdPath, `${line}bob:${line.split(':')[1] ?? ''}`);
        assert.equal((await sighup(frontDoor)).msg, 'reloaded');
        await someMore();
        await replaceConfig(frontDoor, `${realm('After')}limits: { pipelinedRequests: 3 }\n`);
        assert.equal((await sighup(frontDoor)).msg, 'reloaded');
        await someMore();
        loading = false;
        await load;
        const changed = since(frontDoor, from).flatMap((entry) =>
          entry.msg === 'reloaded' ? changedKeys(entry) : [],
        );
        for (const key of ['tls.cert', 'tls.key', 'auth.realm', 'limits.pipelinedRequests'])
          assert.ok(changed.includes(key), `${key} in ${changed.join()}`);

        upload.send(layer.subarray(1024 * 1024));
        const patched = await upload.response();
        assert.equal(patched.status, 202);
        const end = new URL(values(patched, 'location')[0] ?? '', 'https://x');
        upload.send(
          authorized(`PUT ${end.pathname}${end.search}&digest=${digestOf(layer)}`, 'Content-Length: 0'),
        );
        assert.equal((await upload.response()).status, 201);
        hash.update(await download.reader.take(blob.length - 1024 * 1024));
        assert.equal(`sha256:${hash.digest('hex')}`, digestOf(blob));

        const after = { ...frontDoor, ca };
        assert.match(await shownNames(after, {}), /other\.example/);
        await assert.rejects(connectClient(frontDoor), /certificate/, 'whoever trusts the CA from before');
        assert.equal(await realmOf(after), 'Basic realm="After"');
        const bob = `Basic ${Buffer.from('bob:open: sesame').toString('base64')}`;
        const greeted = await exchange(after, anonymous('GET /v2/', `Authorization: ${bob}`));
        assert.equal(greeted.status, 200);
        // Connections from before live on.
        for (const each of [...clients, upload, download]) {
          each.send(authorized('GET /v2/'));
          assert.equal((await each.response()).status, 200);
          each.leave();
        }
        await frontDoor.stop();
      });

      test('what is not valid is refused as a whole, and what was in effect serves on', async () => {
        const frontDoor = await start(realm('Before'));
        // In the order in which they are put back: with valid files and the other configuration, a look at the files would reload it.
        const files = ['tidegate.yml', 'certs/server.crt', 'certs/server.key', 'htpasswd'];
        const contents = await Promise.all(
          files.map((name) => readFile(path.join(frontDoor.dir, name), 'utf8')),
        );
        const restore = async () => {
          for (const [i, name] of files.entries()) {
            await replaceFile(path.join(frontDoor.dir, name), contents[i] ?? '');
            // Behind a look at the files that has read the other configuration, and would find the rest valid.
            if (i === 0) await sighup(frontDoor);
          }
        };
        const { dir } = await makeOtherCertificate(frontDoor);
        const otherKey = await readFile(path.join(dir, 'server.key'), 'utf8');
        const cases: [what: string, name: string, content: string, named: RegExp][] = [
          ['no certificate', 'certs/server.crt', 'nothing', /server\.crt holds no certificate/],
          ['a key of another', 'certs/server.key', otherKey, /server\.key is not the key of the certificate/],
          ['no YAML', 'tidegate.yml', 'auth: {', /tidegate\.yml:\d/],
          ['an unknown key', 'tidegate.yml', 'auth: { relam: x }', /tidegate\.yml:1: auth\.relam/],
          ['no CA', 'tidegate.yml', 'upstream: { ca: missing.pem }', /missing\.pem does not exist/],
          ['no users', 'tidegate.yml', 'auth: { maxBcryptCost: 13 }', /htpasswd does not exist/],
        ];
        for (const [what, name, content, named] of cases) {
          const from = frontDoor.log.length;
          // A change that would be valid comes with it, and must not come into effect either.
          if (name !== 'tidegate.yml') await replaceConfig(frontDoor, realm('Half'));
          await replaceFile(path.join(frontDoor.dir, name), content);
          if (what === 'no users') await rm(frontDoor.htpasswdPath);
          const line = await sighup(frontDoor);
          assert.ok(isRefusal(line), `${what}: ${line.msg}`);
          assert.match(line.msg, named, what);
          assert.equal(line['level'], 50);
          assert.equal(await realmOf(frontDoor), 'Basic realm="Before"', what);
          const answer = await exchange(frontDoor, authorized('GET /v2/'));
          assert.equal(answer.status, 200, what);
          await restore();
          const well = await sighup(frontDoor);
          assert.deepEqual([well.msg, well['changed']], ['reloaded', []], what);
          assert.ok(
            !since(frontDoor, from).some(
              (entry) => entry.msg === 'reloaded' && changedKeys(entry).length > 0,
            ),
          );
        }
        await frontDoor.stop();
      });

      test('changed files come into effect by themselves; a certificate without its key is not yet one', async () => {
        const frontDoor = await start(realm('Before'));
        const from = frontDoor.log.length;
        const logged = listenToLog(frontDoor);
        const { ca } = await exchangeCertificate(frontDoor, 900);
        const line = await logged(({ msg }) => msg === 'reloaded');
        assert.deepEqual([line['trigger'], line['changed']], ['files', ['tls.cert', 'tls.key']]);
        const after = { ...frontDoor, ca };
        assert.match(await shownNames(after, {}), /other\.example/);
        await writeFile(path.join(frontDoor.dir, 'tidegate.yml'), realm('After'));
        await logged((entry) => entry.msg === 'reloaded' && changedKeys(entry).includes('auth.realm'));
        assert.equal(await realmOf(after), 'Basic realm="After"');
        assert.ok(!since(frontDoor, from).some(isRefusal));

        await writeFile(path.join(frontDoor.dir, 'certs/server.key'), 'nothing');
        const refused = await logged(isRefusal);
        assert.match(refused.msg, /server\.key holds no private key/);
        assert.equal(refused['trigger'], 'files');
        frontDoor.process.kill('SIGHUP');
        await logged((entry) => isRefusal(entry) && entry['trigger'] === 'request');
        assert.match(await shownNames(after, {}), /other\.example/);
        await frontDoor.stop();
      });

      test('what needs a restart says so, and stays as it was', async () => {
        const frontDoor = await start('log: { level: info }\n');
        await replaceConfig(
          frontDoor,
          'log: { level: warn }\ncache: { driver: off }\nlimits: { headerBytes: 1KiB, connections: 9 }\n',
        );
        const line = await sighup(frontDoor);
        assert.deepEqual(line['changed'], ['limits.connections']);
        assert.deepEqual(line['needRestart'], ['cache.driver', 'limits.headerBytes', 'log.level']);
        const answer = await exchange(frontDoor, authorized('GET /v2/', `X-Long: ${'x'.repeat(2000)}`));
        assert.equal(answer.status, 200);
        const logged = listenToLog(frontDoor);
        assert.equal((await exchange(frontDoor, authorized('GET /v2/app/manifests/none'))).status, 404);
        const request = await logged((entry) => entry['path'] === '/v2/app/manifests/none');
        assert.equal(request['cache'], 'MISS');
        await frontDoor.stop();
      });
    },
  );
}

describe('a reload of the part that answers', { timeout: 360_000 }, () => {
  let one: ScriptedUpstream;
  let other: ScriptedUpstream;
  before(async () => {
    one = await startUpstream();
    other = await startUpstream({ script: answerOk });
  });
  after(async () => {
    await one.close();
    await other.close();
  });

  test('requests end with the upstream that they began with, and its connections are closed after them', async () => {
    const frontDoor = await startFrontDoor({
      upstreamUrl: null,
      config: `upstream: { url: ${one.url} }\n`,
    });
    const client = await connectClient(frontDoor);
    client.send(authorized('GET /v2/app/blobs/x'));
    const request = await one.next();
    await replaceConfig(frontDoor, `upstream: { url: ${other.url} }\n`);
    assert.deepEqual((await sighup(frontDoor))['changed'], ['upstream.url']);
    assert.equal((await exchange(frontDoor, authorized('GET /v2/app/blobs/x'))).body.toString(), 'ok');
    assert.equal(other.requests.length, 1);
    request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 3'), 'one');
    assert.equal((await client.response()).body.toString(), 'one');
    // Sooner than an unused connection to upstream is given up anyway, which takes 30 seconds.
    await until('no connection to the one is left', () => Promise.resolve(one.open === 0));
    // The same connection goes on with the other one.
    client.send(authorized('GET /v2/app/blobs/x'));
    assert.equal((await client.response()).body.toString(), 'ok');
    client.leave();
    await frontDoor.stop();
  });

  for (const workers of [1, 2]) {
    test(`a write under way keeps the older manifest out of the cache, workers: ${workers}`, async () => {
      let manifest = '{"schemaVersion":2,"old":1}';
      let pushed = () => {};
      const pushing = new Promise<void>((resolve) => (pushed = resolve));
      let acknowledge = () => {};
      const upstream = await startUpstream({
        script: async (request) => {
          await request.body();
          if (request.startLine.startsWith('PUT ')) {
            acknowledge = () => request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
            pushed();
            return;
          }
          request.answer(
            head(
              'HTTP/1.1 200 OK',
              `Content-Type: ${ociManifest}`,
              `Docker-Content-Digest: ${digestOf(manifest)}`,
              `Content-Length: ${manifest.length}`,
            ),
            manifest,
          );
        },
      });
      const frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        set: [`workers=${workers}`, 'cache.tagTtl=1h'],
        config: '',
      });
      const target = '/v2/app/manifests/latest';
      const get = authorized(`GET ${target}`, `Accept: ${ociManifest}`);
      const ask = async (client: RawClient) => {
        client.send(get);
        const answer = await client.response();
        return [values(answer, 'x-cache')[0], answer.body.toString()];
      };
      const pids = workers === 1 ? [] : await workerPids(frontDoor);
      const clients = await Promise.all(
        workers === 1 ? [connectClient(frontDoor)] : pids.map((pid) => connectToWorker(frontDoor, pid)),
      );
      for (const client of clients) {
        assert.deepEqual(await ask(client), ['MISS', manifest]);
        assert.deepEqual(await ask(client), ['HIT', manifest]);
      }
      const newer = '{"schemaVersion":2,"new":1}';
      const pusher = await connectClient(frontDoor);
      pusher.send(authorized(`PUT ${target}`, `Content-Length: ${newer.length}`), newer);
      await pushing;
      await replaceConfig(frontDoor, 'limits: { manifestBytes: 1MiB }\n');
      assert.deepEqual((await sighup(frontDoor))['changed'], ['limits.manifestBytes']);
      for (const client of clients)
        for (let tries = 0; tries < 2; tries += 1) assert.deepEqual(await ask(client), ['MISS', manifest]);
      manifest = newer;
      acknowledge();
      assert.equal((await pusher.response()).status, 201);
      for (const client of clients) {
        assert.deepEqual(await ask(client), ['MISS', newer]);
        assert.deepEqual(await ask(client), ['HIT', newer]);
      }
      // Another password for upstream: what was given for the one before is forgotten.
      await replaceConfig(
        frontDoor,
        'limits: { manifestBytes: 1MiB }\nupstream: { username: u, password: p }\n',
      );
      const line = await sighup(frontDoor);
      assert.deepEqual(line['changed'], ['upstream.username', 'upstream.password']);
      assert.ok(!JSON.stringify(line).includes('"p"'));
      for (const client of clients) assert.deepEqual(await ask(client), ['MISS', newer]);
      for (const client of [...clients, pusher]) client.leave();
      await frontDoor.stop();
      await upstream.close();
    });
  }

  for (const workers of [1, 2]) {
    test(`tokens outlive what does not concern the users, workers: ${workers}`, async () => {
      const registry = await startV1Registry();
      const frontDoor = await startFrontDoor({
        upstreamUrl: registry.url,
        set: [`workers=${workers}`],
        config: '',
      });
      const pids = workers === 1 ? [] : await workerPids(frontDoor);
      const reach = (pid?: number) =>
        pid === undefined ? connectClient(frontDoor) : connectToWorker(frontDoor, pid);
      const one = await reach(pids[0]);
      const two = await reach(pids[1]);
      const fetchToken = async () => {
        const put = 'PUT /v1/repositories/library/app/';
        one.send(authorized(put, 'X-Docker-Token: true', 'Content-Length: 2') + '{}');
        return values(await one.response(), 'x-docker-token')[0] ?? '';
      };
      const statusWith = async (token: string) => {
        two.send(anonymous('GET /v1/images/0a/json', `Authorization: Token ${token}`));
        return (await two.response()).status;
      };
      const token = await fetchToken();
      assert.equal(await statusWith(token), 404);
      await replaceConfig(frontDoor, 'auth: { realm: Other }\nlimits: { manifestBytes: 1MiB }\n');
      assert.deepEqual((await sighup(frontDoor))['changed'], ['auth.realm', 'limits.manifestBytes']);
      assert.equal(await statusWith(token), 404);
      await replaceConfig(frontDoor, 'auth: { credentialTtl: 9m }\n');
      assert.ok(changedKeys(await sighup(frontDoor)).includes('auth.credentialTtl'));
      assert.equal(await statusWith(token), 401);
      assert.equal(await statusWith(await fetchToken()), 404, 'one that was given out since');
      for (const client of [one, two]) client.leave();
      await frontDoor.stop();
      await registry.close();
    });
  }

  test('other rules about users count at once, also for who was let in by those before', async () => {
    const bob = `Authorization: Basic ${Buffer.from('bob:U*U').toString('base64')}`;
    const frontDoor = await startFrontDoor({
      upstreamUrl: other.url,
      config: '',
      htpasswd: 'bob:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n',
    });
    const client = await connectClient(frontDoor);
    const status = async () => {
      client.send(anonymous('GET /v2/x', bob));
      return (await client.response()).status;
    };
    assert.equal(await status(), 200);
    await replaceConfig(frontDoor, 'auth: { maxBcryptCost: 4 }\n');
    assert.deepEqual((await sighup(frontDoor))['changed'], ['auth.maxBcryptCost']);
    assert.equal(await status(), 401);
    client.leave();
    await frontDoor.stop();
  });

  test(
    'a client certificate that is demanded from now on ends the connections without one',
    { skip: unlessInstalled('openssl') },
    async () => {
      const frontDoor = await startFrontDoor({
        upstreamUrl: other.url,
        set: ['limits.keepAliveTimeout=1h'],
        config: '',
      });
      const clients = path.join(frontDoor.dir, 'clients');
      await copyCertificate(clients, ['client.example']);
      const pair = await createClientPair(clients);
      const get = authorized('GET /v2/x');
      const idle = await connectClient(frontDoor);
      const sessions: Buffer[] = [];
      idle.socket.on('session', (session: Buffer) => sessions.push(session));
      idle.send(get);
      assert.equal((await idle.response()).status, 200);
      assert.ok(sessions.length > 0);
      await replaceConfig(frontDoor, `tls: { clientCa: ${clients}/ca.crt }\n`);
      assert.deepEqual((await sighup(frontDoor))['changed'], ['tls.clientCa']);
      assert.equal((await idle.rest()).length, 0);
      for (const session of [undefined, ...sessions]) {
        const refused = await connectClient(frontDoor, session === undefined ? {} : { session }).catch(
          () => null,
        );
        refused?.send(get);
        assert.equal((await refused?.rest())?.length ?? 0, 0);
      }
      const slow = await beginHandshake(frontDoor, pair);
      const others = path.join(frontDoor.dir, 'other-clients');
      await copyCertificate(others, ['other.example']);
      await replaceConfig(frontDoor, `tls: { clientCa: ${others}/ca.crt }\n`);
      assert.deepEqual((await sighup(frontDoor))['changed'], ['tls.clientCa']);
      await slow.finish();
      slow.socket.write(authorized('GET /v2/x', 'Connection: close'));
      assert.equal(await slow.received, '', 'its handshake began when its CA was still trusted');
      await replaceConfig(frontDoor, `tls: { clientCa: ${clients}/ca.crt }\n`);
      assert.deepEqual((await sighup(frontDoor))['changed'], ['tls.clientCa']);
      const client = await connectClient(frontDoor, pair);
      client.send(get);
      assert.equal((await client.response()).status, 200);
      await replaceConfig(frontDoor, '{}\n');
      assert.deepEqual((await sighup(frontDoor))['changed'], ['tls.clientCa']);
      assert.equal((await exchange(frontDoor, get)).status, 200);
      client.send(get);
      assert.equal((await client.response()).status, 200, 'what demands less ends no connection');
      client.leave();
      await frontDoor.stop();
    },
  );
});
