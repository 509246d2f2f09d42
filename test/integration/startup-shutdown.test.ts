import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { anonymous, authorized, connectClient } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

describe('the end of a running front door', { timeout: 60_000 }, () => {
  let upstream: ScriptedUpstream;
  before(async () => {
    upstream = await startUpstream();
  });
  after(() => upstream.close());

  const exitCode = async (frontDoor: FrontDoor): Promise<number | null> => {
    if (frontDoor.process.exitCode === null) await once(frontDoor.process, 'exit');
    return frontDoor.process.exitCode;
  };
  const signal = async (frontDoor: FrontDoor, name: 'SIGTERM' | 'SIGINT') => {
    frontDoor.process.kill(name);
    await frontDoor.logged(({ msg }) => msg === 'shutting down');
  };

  test('SIGTERM: transfers under way end in good order, nothing new is taken, exit code 0', async () => {
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
    const download = await connectClient(frontDoor);
    download.send(authorized('GET /v2/app/blobs/x'));
    const downloaded = await upstream.next();
    downloaded.answer(head('HTTP/1.1 200 OK', 'Content-Length: 6'), 'abc');
    await download.responseHead();
    const upload = await connectClient(frontDoor);
    upload.send(authorized('PUT /v2/app/blobs/uploads/1', 'Content-Length: 6'), 'abc');
    const uploaded = await upstream.next();

    const unused = await connectClient(frontDoor);
    const half = await connectClient(frontDoor);
    half.send('GET /v2/ HTTP/1.1\r\nHost: x\r\n');
    const idle = await connectClient(frontDoor);
    idle.send(anonymous('GET /v2/x'));
    await idle.response();

    await signal(frontDoor, 'SIGTERM');
    for (const client of [unused, half, idle]) assert.equal((await client.rest()).length, 0);
    await assert.rejects(connectClient(frontDoor));

    downloaded.answer('def');
    assert.equal((await download.reader.take(6)).toString(), 'abcdef');
    upload.send('def');
    assert.equal((await uploaded.body()).body.toString(), 'abcdef');
    uploaded.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
    const created = await upload.response();
    assert.equal(created.status, 201);
    assert.deepEqual(values(created, 'connection'), ['close']);
    assert.equal(await exitCode(frontDoor), 0);
    assert.equal((await download.rest()).length + (await upload.rest()).length, 0);
    const last = frontDoor.log.at(-1);
    assert.equal(last?.msg, 'stopped');
    await frontDoor.stop();
  });

  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    test(`${name} ${name === 'SIGINT' ? 'cuts at once' : 'cuts after shutdown.timeout'}, exit code 0`, async () => {
      const frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        set: name === 'SIGINT' ? [] : ['shutdown.timeout=300ms'],
      });
      const client = await connectClient(frontDoor);
      client.send(authorized('GET /v2/app/blobs/x'));
      const request = await upstream.next();
      request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 6'), 'abc');
      await client.responseHead();
      const handshaking = connect(frontDoor.port, '127.0.0.1');
      await once(handshaking, 'connect');
      handshaking.on('error', () => {}).resume();
      const startedAtMs = performance.now();
      await signal(frontDoor, name);
      assert.equal(await exitCode(frontDoor), 0);
      assert.ok(performance.now() - startedAtMs < 5000);
      assert.equal((await client.rest()).toString(), 'abc');
      await request.closed;
      handshaking.destroy();
      await frontDoor.stop();
    });
  }

  test('a second signal does not wait', async () => {
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
    const client = await connectClient(frontDoor);
    client.send(authorized('GET /v2/app/blobs/x'));
    await upstream.next();
    await signal(frontDoor, 'SIGTERM');
    frontDoor.process.kill('SIGTERM');
    assert.equal(await exitCode(frontDoor), 1);
    client.leave();
    await frontDoor.stop();
  });
});
