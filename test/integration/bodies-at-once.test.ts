import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { authorized, connectClient } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const bodyBytes = 3 * 1024 * 1024;
const chunkBytes = 50_000;
const atOnce = 20;
const rounds = 3;

let upstream: ScriptedUpstream;
let frontDoor: FrontDoor;
before(async () => {
  upstream = await startUpstream({
    script: (request) => {
      const body = bodyOf(numberIn(request.startLine));
      if (request.startLine.includes('/chunked/'))
        request.answer(head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked'), ...inChunks(body));
      else request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${body.length}`), body);
    },
  });
  frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
});
after(async () => {
  await frontDoor.stop();
  await upstream.close();
});

for (const kind of ['whole', 'chunked'])
  test(`${atOnce} bodies at once, ${kind}, some given up in the middle: each client gets its own`, async () => {
    for (let round = 0; round < rounds; round += 1)
      await Promise.all(
        Array.from({ length: atOnce }, async (_, i) => {
          const number = round * atOnce + i;
          const client = await connectClient(frontDoor);
          client.send(authorized(`GET /v2/${kind}/blobs/${number}`));
          if (i % 5 === 0) await client.responseHead();
          else assert.ok((await client.response()).body.equals(bodyOf(number)), `body ${number}`);
          client.leave();
        }),
      );
  });

/** Every word of it says whose it is and where in the body it stands. */
function bodyOf(number: number): Buffer {
  const words = Uint32Array.from({ length: bodyBytes / 4 }, (_, at) => number * 2 ** 24 + at);
  return Buffer.from(words.buffer);
}

function numberIn(startLine: string): number {
  return Number(/blobs\/(\d+)/.exec(startLine)?.[1]);
}

function* inChunks(body: Buffer): Generator<Buffer> {
  for (let at = 0; at < body.length; at += chunkBytes) {
    const piece = body.subarray(at, at + chunkBytes);
    yield Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]);
  }
  yield Buffer.from('0\r\n\r\n');
}
