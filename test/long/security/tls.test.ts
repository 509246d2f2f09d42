import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { copyCertificate, createClientPair } from '../../support/certificate-files.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { authorized, connectClient, exchange } from '../../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';

const get = authorized('GET /v2/app/blobs/x');

describe('TLS', { timeout: 240_000, skip: unlessInstalled('openssl') }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let strict: FrontDoor;
  let dir: string;
  let clientPair: { cert: string; key: string };
  let strangersPair: { cert: string; key: string };
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    await copyCertificate(path.join(dir, 'clients'), ['client.example']);
    await copyCertificate(path.join(dir, 'strangers'), ['stranger.example']);
    clientPair = await createClientPair(path.join(dir, 'clients'));
    strangersPair = await createClientPair(path.join(dir, 'strangers'));
    upstream = await startUpstream({ script: answerOk });
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
    strict = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['tls.minVersion=TLSv1.3', `tls.clientCa=${path.join(dir, 'clients/ca.crt')}`],
    });
  });
  after(async () => {
    await frontDoor.stop();
    await strict.stop();
    await upstream.close();
    await rm(dir, { recursive: true, force: true });
  });

  test('1.2 and 1.3 are spoken, 1.1 is not', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const client = await connectClient(frontDoor, { minVersion: version, maxVersion: version });
      assert.equal(client.socket.getProtocol(), version);
      client.send(get);
      assert.equal((await client.response()).status, 200);
      client.leave();
    }
    await assert.rejects(
      connectClient(frontDoor, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }),
    );
  });

  test('tls.minVersion refuses older ones', async () => {
    await assert.rejects(connectClient(strict, { ...clientPair, maxVersion: 'TLSv1.2' }));
  });

  test('the protocols offered are HTTP/1.1 and 1.0, never h2', async () => {
    const client = await connectClient(frontDoor, { ALPNProtocols: ['h2', 'http/1.1'] });
    assert.equal(client.socket.alpnProtocol, 'http/1.1');
    client.leave();
    await assert.rejects(connectClient(frontDoor, { ALPNProtocols: ['h2'] }));
  });

  test('tls.clientCa: only clients with a certificate of that CA come in, and still need the password', async () => {
    const client = await connectClient(strict, clientPair);
    client.send(get, get.replace(/Authorization: .*\r\n/, ''));
    assert.equal((await client.response()).status, 200);
    assert.equal((await client.response()).status, 401);
    client.leave();
    // In TLS 1.3 the client is through with its handshake before the server refuses its certificate.
    const seenBefore = upstream.requests.length;
    for (const pair of [{}, strangersPair]) {
      await assert.rejects(async () => {
        const stranger = await connectClient(strict, pair);
        stranger.send(get);
        await stranger.response();
      });
    }
    assert.equal(upstream.requests.length, seenBefore);
    assert.equal((await exchange(frontDoor, get)).status, 200);
  });

  test('the certificate is for its names only', async () => {
    await assert.rejects(connectClient(frontDoor, { servername: 'other.example' }), /altnames/);
    await assert.rejects(connectClient({ ...frontDoor, ca: clientPair.cert }));
  });
});
