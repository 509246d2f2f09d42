import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { anonymous, authorized, connectClient, errorCode } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

const answer = (request: UpstreamRequest, body: string) =>
  request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${body.length}`), body);

describe('pipelined requests', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream();
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['limits.pipelinedRequests=4', 'log.audit=false'],
    });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  test('are answered in order, and each is forwarded when the one before it is done', async () => {
    const client = await connectClient(frontDoor);
    client.send(
      authorized('PUT /v2/app/blobs/uploads/1', 'Content-Length: 3'),
      'abc',
      authorized('GET /v2/app/blobs/2'),
      anonymous('GET /v2/app/blobs/3'),
      authorized('GET /v2/app/blobs/4'),
    );
    const before = upstream.requests.length;
    const put = await upstream.next();
    assert.equal((await put.body()).body.toString(), 'abc');
    assert.equal(upstream.requests.length, before + 1);
    answer(put, 'one');
    assert.equal((await client.response()).body.toString(), 'one');
    answer(await upstream.next(), 'two');
    assert.equal((await client.response()).body.toString(), 'two');
    assert.equal(errorCode(await client.response()), 'UNAUTHORIZED');
    const last = await upstream.next();
    assert.equal(last.startLine, 'GET /v2/app/blobs/4 HTTP/1.1');
    answer(last, 'four');
    assert.equal((await client.response()).body.toString(), 'four');
    client.leave();
  });

  test('more than limits.pipelinedRequests at once close the connection', async () => {
    const client = await connectClient(frontDoor);
    client.send(authorized('GET /v2/app/blobs/x'));
    const first = await upstream.next();
    client.send(...Array.from({ length: 4 }, (_, i) => authorized(`GET /v2/app/blobs/${i}`)));
    assert.equal((await client.rest()).length, 0);
    await first.closed;
  });

  test('each of a client that leaves has its log line, and only the first went upstream', async () => {
    const before = upstream.requests.length;
    const client = await connectClient(frontDoor);
    client.send(...['/v2/left/1', '/v2/left/2', '/v2/left/3'].map((path) => authorized(`GET ${path}`)));
    const first = await upstream.next();
    client.leave();
    await first.closed;
    for (const path of ['/v2/left/1', '/v2/left/2', '/v2/left/3']) {
      const line = await frontDoor.logged((entry) => entry['path'] === path);
      assert.equal(line['status'], 0);
    }
    assert.equal(upstream.requests.length, before + 1);
  });

  test('what is no HTTP after a request that waits for its answer gets no answer in its place', async () => {
    const client = await connectClient(frontDoor);
    client.send(authorized('GET /v2/app/blobs/x'));
    const request = await upstream.next();
    client.send('this is no HTTP\r\n\r\n');
    assert.equal((await client.rest()).toString(), '');
    await request.closed;
  });

  test('nor does a CONNECT', async () => {
    const client = await connectClient(frontDoor);
    client.send(authorized('GET /v2/app/blobs/x') + head('CONNECT a:1 HTTP/1.1', 'Host: a:1'));
    assert.equal((await client.rest()).toString(), '');
  });

  test('a client without a password may pipeline as well: all are answered, one by one', async () => {
    const client = await connectClient(frontDoor);
    client.send(...Array.from({ length: 4 }, (_, i) => anonymous(`GET /v2/app/blobs/${i}`)));
    for (let i = 0; i < 4; i++) assert.equal(errorCode(await client.response()), 'UNAUTHORIZED');
    client.send(authorized('GET /v2/app/blobs/last'));
    answer(await upstream.next(), 'last');
    assert.equal((await client.response()).body.toString(), 'last');
    client.leave();
  });

  test('a body behind a request without a password comes whole', async () => {
    const client = await connectClient(frontDoor);
    const body = Buffer.alloc(600_000, 'b');
    client.send(
      anonymous('GET /v2/app/blobs/1'),
      authorized('PUT /v2/app/blobs/uploads/1', `Content-Length: ${body.length}`),
      body,
      authorized('GET /v2/app/blobs/2'),
    );
    assert.equal((await client.response()).status, 401);
    const put = await upstream.next();
    assert.ok((await put.body()).body.equals(body));
    answer(put, 'one');
    assert.equal((await client.response()).body.toString(), 'one');
    answer(await upstream.next(), 'two');
    assert.equal((await client.response()).body.toString(), 'two');
    client.leave();
  });

  for (const [what, request] of [
    ['two Hosts', anonymous('GET /v2/', 'Host: other.example')],
    ['a GET with a body', authorized('GET /v2/app/blobs/x', 'Content-Length: 3') + 'abc'],
  ] as const) {
    test(`what follows a refusal that closes the connection is not acted upon: ${what}`, async () => {
      const client = await connectClient(frontDoor);
      client.send(request + authorized('DELETE /v2/app/manifests/behind'));
      assert.equal((await client.response()).status, 400);
      assert.equal((await client.rest()).length, 0);
      const later = await connectClient(frontDoor);
      later.send(authorized('DELETE /v2/app/manifests/later'));
      const asked = await upstream.next();
      assert.equal(asked.startLine, 'DELETE /v2/app/manifests/later HTTP/1.1');
      answer(asked, 'gone'); // the next delete in this repository waits for it
      assert.equal((await later.response()).status, 200);
      later.leave();
    });
  }
});
