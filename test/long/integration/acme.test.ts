import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  acmeFolder,
  host,
  issued,
  listeningLine,
  presented,
  startAcmeDoor,
  stopDoors,
  untilIssued,
} from '../../support/acme.ts';
import { findAdmin, watched } from '../../support/admin.ts';
import { copyCertificate, createClientPair } from '../../support/certificate-files.ts';
import { startPebble, type Pebble } from '../../support/pebble.ts';
import { startRedis, until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const skip = unlessInstalled('pebble', 'pebble-challtestsrv');

describe('a certificate by ACME', { skip, timeout: 360_000 }, () => {
  let pebble: Pebble;
  let root: string;
  before(async () => {
    // A third of all nonces are refused, and some authorizations are valid already.
    pebble = await startPebble({ env: { PEBBLE_WFE_NONCEREJECT: '30', PEBBLE_AUTHZREUSE: '50' } });
    root = await pebble.root();
  });
  after(async () => {
    await stopDoors();
    await pebble.stop();
  });

  test('until there is one, a self-signed one answers, and readyz is 200 and says so', async () => {
    const door = await startAcmeDoor({ pebble, set: watched, directory: 'https://localhost:1/dir' });
    const admin = await findAdmin(door);
    type Check = { readonly ok: boolean; readonly detail: string };
    const ask = async () =>
      (JSON.parse((await admin.ask('/readyz')).body) as { checks: { certificate: Check } }).checks
        .certificate;
    await until('readyz tells of the failure', async () => (await ask()).detail.includes('failed'));
    const certificate = await ask();
    assert.equal(certificate.ok, true);
    assert.match(
      certificate.detail,
      /^self-signed, until the CA has issued one; the last order failed: The CA cannot [^;]*[^.]; the next try is at 2/,
    );
    assert.equal((await admin.metrics()).get('tidegate_certificate_self_signed'), 1);
    const { issuer, subjectaltname } = await presented(door.port);
    assert.equal(subjectaltname, `DNS:${host}`);
    assert.equal(issuer.CN, 'Tidegate, until the CA has issued a certificate');
    await door.stop();
  });

  test('by http-01, with an RSA key; plain HTTP leads everything else to https', async () => {
    const set = ['listen.httpPort=0', 'tls.acme.challenge=http-01', 'tls.acme.keyType=RSA2048', 'workers=2'];
    const door = await startAcmeDoor({ pebble, set });
    await untilIssued(door);
    const certificate = await presented(door.port, { ca: root });
    assert.equal(certificate.bits, 2048);
    const { httpPort } = listeningLine(door);
    const asked = request({
      port: Number(httpPort),
      path: '/v2/?a=b',
      headers: { Host: `${host}:80` },
    }).end();
    const [answer] = (await once(asked, 'response')) as [
      { statusCode: number; headers: Record<string, string> },
    ];
    assert.deepEqual(
      [answer.statusCode, answer.headers['location'], answer.headers['connection']],
      [301, `https://${host}:${door.port}/v2/?a=b`, 'close'],
    );
    await door.stop();
  });

  test('behind the PROXY protocol, and beside client certificates, which the CA has none of', async () => {
    const clients = await mkdtemp(path.join(tmpdir(), 'tidegate-acme-clients-'));
    await copyCertificate(clients, ['localhost']);
    pebble.precede('PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n');
    const set = [
      ...['listen.proxyProtocol=on', 'listen.trustedProxies=127.0.0.1', 'listen.httpPort=0'],
      `tls.clientCa=${clients}/ca.crt`,
    ];
    const door = await startAcmeDoor({ pebble, set, names: ['proxied.example.com'] });
    await untilIssued(door);
    pebble.precede('');
    const { cert, key } = await createClientPair(clients);
    const connect = async (pair: object) => {
      const tcp = connectTcp(door.port, '127.0.0.1');
      tcp.write('PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n');
      const { connect: connectTls } = await import('node:tls');
      const socket = connectTls({ socket: tcp, servername: 'proxied.example.com', ca: root, ...pair });
      socket.on('error', () => {});
      await once(socket, 'secureConnect');
      socket.write('GET /v2/_catalog HTTP/1.1\r\nHost: proxied.example.com\r\nConnection: close\r\n\r\n');
      let text = '';
      for await (const piece of socket as AsyncIterable<Buffer>) text += piece.toString();
      return text;
    };
    assert.match(await connect({ cert, key }), /^HTTP\/1\.1 401/);
    await assert.rejects(connect({}));
    await door.stop();
    await rm(clients, { recursive: true });
  });

  for (const challenge of ['tls-alpn-01', 'http-01'])
    test(`two instances behind a balancer share one order and its ${challenge} check through Redis`, async () => {
      const redis = await startRedis();
      const shared = await mkdtemp(path.join(tmpdir(), 'tidegate-acme-shared-'));
      const name = `${challenge}.example.com`;
      const options = {
        pebble,
        names: [name],
        set: [
          ...[
            'cache.driver=redis',
            `cache.redis.url=redis://${redis.address}/0`,
            `tls.acme.dir=${shared}/acme`,
          ],
          ...['listen.httpPort=0', `tls.acme.challenge=${challenge}`],
        ],
      };
      const doors = await Promise.all([startAcmeDoor(options), startAcmeDoor(options)]);
      pebble.lead({
        tls: doors.map(({ port }) => port),
        http: doors.map((door) => Number(listeningLine(door)['httpPort'])),
      });
      await until('each knows of the other', async () => {
        const [key = ''] = await redis.admin.keys('*challenges-answered');
        return key !== '' && (await redis.admin.hlen(key)) === 2;
      });
      // Meanwhile the CA was led to one of them alone.
      for (const door of doors) door.process.kill('SIGHUP');
      for (const door of doors) {
        await door.logged(({ msg, changed }) => msg === 'reloaded' && String(changed) === 'tls.cert,tls.key');
        assert.equal(
          (await presented(door.port, { ca: root, servername: name })).subjectaltname,
          `DNS:${name}`,
        );
      }
      const orders = doors.flatMap(({ log }) => log.filter(({ msg }) => issued(msg)));
      assert.equal(orders.length, 1);
      await Promise.all(doors.map((door) => door.stop()));
      await redis.stop();
      await rm(shared, { recursive: true });
    });

  test('a second instance with the same folder and without Redis takes the certificate, and orders none', async () => {
    const shared = await mkdtemp(path.join(tmpdir(), 'tidegate-acme-shared-'));
    const options = { pebble, names: ['same.example.com'], set: [`tls.acme.dir=${shared}/acme`] };
    const first = await startAcmeDoor(options);
    pebble.lead({ tls: [first.port], http: [] });
    await untilIssued(first);
    const second = await startAcmeDoor(options);
    const seen = await presented(second.port, { ca: root, servername: 'same.example.com' });
    assert.equal(seen.subjectaltname, 'DNS:same.example.com');
    assert.ok(!second.log.some(({ msg }) => issued(msg)));
    await first.stop();
    await second.stop();
    await rm(shared, { recursive: true });
  });
});

describe('an account at a CA that wants one bound', { skip, timeout: 240_000 }, () => {
  const secret = createHmac('sha256', 'a').update('b').digest('base64url');
  let pebble: Pebble;
  before(async () => {
    pebble = await startPebble({ externalAccounts: { 'kid-1': secret } });
  });
  after(async () => {
    await stopDoors();
    await pebble.stop();
  });

  test('is made with the key that the CA has given', async () => {
    const set = ['tls.acme.externalAccount.keyId=kid-1', 'tls.acme.email=ops@example.com'];
    const env = { TIDEGATE_TLS_ACME_EXTERNAL_ACCOUNT_HMAC_KEY: secret };
    const door = await startAcmeDoor({ pebble, set, env });
    await untilIssued(door);
    assert.equal((await presented(door.port, { ca: await pebble.root() })).subjectaltname, `DNS:${host}`);
    await door.stop();
  });

  test('is asked of the operator without one', async () => {
    const door = await startAcmeDoor({ pebble });
    await door.logged(({ msg }) => msg.includes('wants an external account: set tls.acme.externalAccount'));
    const progress = await readFile(path.join(acmeFolder(door), 'progress.json'), 'utf8');
    assert.match(progress, /external account/);
    await door.stop();
  });
});
