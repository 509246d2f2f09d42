import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { authorized, connectClient } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

describe('a head whose body is not here yet', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream();
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  for (const framing of ['Content-Length: 4', 'Transfer-Encoding: chunked']) {
    const isChunked = framing.startsWith('Transfer');
    const body = isChunked ? '4\r\nlate\r\n0\r\n\r\n' : 'late';

    test(`goes to upstream at once, with every byte as it is (${framing})`, async () => {
      const client = await connectClient(frontDoor);
      client.send(authorized('PATCH /v2/app/blobs/uploads/1?x=%C3', framing, 'X-Latin-1: caf\xe9'));
      const request = await upstream.next();
      assert.equal(request.startLine, 'PATCH /v2/app/blobs/uploads/1?x=%C3 HTTP/1.1');
      assert.deepEqual(values(request, 'x-latin-1'), ['caf\xe9']);
      client.send(body);
      assert.equal((await request.body()).body.toString(), 'late');
      client.leave();
      await request.closed;
    });

    test(`goes to the client at once, with every byte as it is (${framing})`, async () => {
      const client = await connectClient(frontDoor);
      client.send(authorized('GET /v2/app/blobs/x'));
      const request = await upstream.next();
      request.answer(head('HTTP/1.1 200 D\xe9j\xe0', framing, 'X-Latin-1: caf\xe9'));
      const response = await client.responseHead();
      assert.equal(response.startLine, 'HTTP/1.1 200 D\xe9j\xe0');
      assert.deepEqual(values(response, 'x-latin-1'), ['caf\xe9']);
      request.answer(body);
      assert.equal((await client.reader.take(body.length)).toString(), body);
      client.leave();
    });
  }
});
