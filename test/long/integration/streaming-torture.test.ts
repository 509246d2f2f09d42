import assert from 'node:assert/strict';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import type { Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head, readBody, values } from '../../support/http-message.ts';
import { countSockets } from '../../support/process-status.ts';
import { authorized, connectClient, type RawClient, type Response } from '../../support/raw-client.ts';
import {
  startUpstream,
  type ScriptedUpstream,
  type UpstreamRequest,
} from '../../support/scripted-upstream.ts';

/** TRANSFERS and SEED repeat a run, or make it longer. */
const transfers = Number(process.env['TRANSFERS'] ?? '1200');
const firstSeed = Number(process.env['SEED'] ?? randomInt(2 ** 31));
const parallel = 6;
const KiB = 1024;
const MiB = 1024 * KiB;

/** Every body is a part of this one. */
const content = randomBytes(8 * MiB);
const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

type Random = (below: number) => number;
/** The same numbers for the same seed (mulberry32). */
function createRandom(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** What becomes of one transfer, known to both ends by its seed. */
type Plan = {
  readonly seed: number;
  readonly method: 'GET' | 'PUT' | 'PATCH';
  readonly body: Buffer;
  readonly isChunked: boolean;
  /** Sent by upstream after the announced length. */
  readonly extraBytes: number;
  /** Where upstream breaks off, in bytes of the body. */
  readonly upstreamBreaksAt: number | null;
  readonly breaksWith: 'FIN' | 'RST';
  readonly upstreamCloses: boolean;
  /** Where the client leaves, in bytes of the body. */
  readonly clientLeavesAt: number | null;
  readonly clientIsSlow: boolean;
};

function planOf(seed: number): Plan {
  const random = createRandom(seed);
  const pick = <T>(...choices: T[]) => choices[random(choices.length)] as T;
  const oneIn = (times: number) => random(times) === 0;
  const size = pick(
    pick(0, 1, 16 * KiB, 64 * KiB, 256 * KiB, 512 * KiB),
    MiB + random(5) - 2,
    random(64 * KiB),
    random(MiB),
    MiB + random(MiB),
    oneIn(4) ? 4 * MiB + random(2 * MiB) : random(256 * KiB),
  );
  const offset = random(content.length - size);
  const method = pick('GET', 'GET', 'GET', 'PUT', 'PATCH');
  const isChunked = oneIn(3);
  const breaks = method === 'GET' && size > 0 && oneIn(8);
  return {
    seed,
    method,
    body: content.subarray(offset, offset + size),
    isChunked,
    // After a smaller body they would be taken for the answer to the connection's next request.
    extraBytes: method === 'GET' && !isChunked && size >= MiB && oneIn(4) ? 1 + random(100 * KiB) : 0,
    upstreamBreaksAt: breaks ? random(size) : null,
    breaksWith: pick('FIN', 'RST'),
    upstreamCloses: oneIn(6),
    clientLeavesAt: !breaks && size > 0 && oneIn(8) ? random(size) : null,
    clientIsSlow: oneIn(3),
  };
}

/** Resolves when the socket takes more, or is gone. */
const drained = (socket: Socket) =>
  new Promise<void>((resolve) => {
    const done = () => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    if (socket.destroyed) resolve();
    else socket.on('drain', done).on('close', done);
  });

/** Writes up to `endBytes` of a body in pieces of random size, with random pauses, as fast as the other side takes it. */
async function sendBody(socket: Socket, plan: Plan, random: Random, endBytes: number): Promise<void> {
  const { body, isChunked } = plan;
  const largest = [100, 20 * KiB, 300 * KiB][random(3)] ?? 1;
  for (let at = 0, writes = 0; at < endBytes && !socket.destroyed; writes++) {
    // Many tiny pieces would take all of the test's time.
    const size = Math.min(1 + random(writes > 50 ? 300 * KiB : largest), endBytes - at);
    const piece = body.subarray(at, at + size);
    at += size;
    if (isChunked) socket.write(`${size.toString(16)}\r\n`);
    const goesOn = socket.write(piece);
    if (isChunked) socket.write('\r\n');
    if (!goesOn) await drained(socket);
    for (let pause = random(4) === 0 ? random(5) : 0; pause > 0; pause--) await turn();
  }
}

const framing = ({ isChunked, body }: Plan) =>
  isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;

/** Upstream's side: answers a GET with the planned body, and a write with the digest of what it got. */
async function serve(request: UpstreamRequest): Promise<void> {
  const plan = planOf(Number(/\/(\d+) /.exec(request.startLine)?.[1]));
  const random = createRandom(plan.seed + 1);
  const { socket } = request;
  if (plan.method !== 'GET') {
    const { body, complete } = await request.body();
    if (complete)
      request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0', `Digest: ${digest(body)}`));
    return;
  }
  request.answer(
    head('HTTP/1.1 200 OK', framing(plan), ...(plan.upstreamCloses ? ['Connection: close'] : [])),
  );
  await sendBody(socket, plan, random, plan.upstreamBreaksAt ?? plan.body.length);
  if (plan.upstreamBreaksAt !== null) {
    if (plan.breaksWith === 'FIN') socket.end();
    else socket.resetAndDestroy();
    return;
  }
  if (plan.isChunked) socket.write('0\r\n\r\n');
  if (plan.extraBytes > 0) socket.write(Buffer.alloc(plan.extraBytes, 'EXTRA'));
  if (plan.upstreamCloses) socket.end();
}

/** The client's side. Gives whether the connection may be used again. */
async function ask(client: RawClient, plan: Plan): Promise<boolean> {
  const random = createRandom(plan.seed + 2);
  const { method, seed, body, clientLeavesAt } = plan;
  const request = `${method} /v2/app/blobs/${seed}`;
  if (method !== 'GET') {
    client.send(authorized(request, framing(plan)));
    await sendBody(client.socket, plan, random, clientLeavesAt ?? body.length);
    if (clientLeavesAt !== null) return false;
    if (plan.isChunked) client.send('0\r\n\r\n');
    const response = await client.response();
    assert.deepEqual([response.status, ...values(response, 'digest')], [201, digest(body)]);
    return true;
  }
  client.send(authorized(request));
  const response = await client.responseHead();
  if (response.status === 502 && plan.upstreamBreaksAt !== null) {
    // A reset overtakes what was sent before it.
    return (await readBody(client.reader, response)).complete;
  }
  assert.equal(response.status, 200);
  if (clientLeavesAt !== null) {
    await client.reader.discard(Math.min(clientLeavesAt, 200 * KiB));
    return false;
  }
  const { received, isComplete } = await receive(client, response, plan, random);
  if (plan.upstreamBreaksAt === null) {
    assert.ok(isComplete, 'complete');
    assert.equal(digest(received), digest(body));
    return true;
  }
  assert.equal(isComplete, false, 'an answer that broke off must not end well');
  assert.ok(received.length <= plan.upstreamBreaksAt);
  assert.equal(digest(received), digest(body.subarray(0, received.length)));
  return false;
}

async function receive(
  { reader }: RawClient,
  response: Pick<Response, 'startLine' | 'headers'>,
  plan: Plan,
  random: Random,
): Promise<{ received: Buffer; isComplete: boolean }> {
  if (plan.isChunked) {
    const { body, complete } = await readBody(reader, response);
    return { received: body, isComplete: complete };
  }
  assert.deepEqual(values(response, 'content-length'), [String(plan.body.length)]);
  const pieces: Buffer[] = [];
  for (let left = plan.body.length; left > 0;) {
    const piece = await reader.some();
    if (piece === null) return { received: Buffer.concat(pieces), isComplete: false };
    assert.ok(piece.length <= left, 'more than announced');
    pieces.push(piece);
    left -= piece.length;
    for (let pause = plan.clientIsSlow ? random(30) : 0; pause > 0; pause--) await turn();
  }
  return { received: Buffer.concat(pieces), isComplete: true };
}

let upstream: ScriptedUpstream;
let frontDoor: FrontDoor;
before(async () => {
  upstream = await startUpstream({ script: (request) => serve(request).catch(() => {}) });
  frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
});
after(async () => {
  await frontDoor.stop();
  await upstream.close();
});

test(`${transfers} transfers of all kinds from seed ${firstSeed}`, { timeout: 600_000 }, async () => {
  const socketsBefore = await countSockets(frontDoor.pid);
  let nextSeed = firstSeed;
  const work = async () => {
    let client: RawClient | undefined;
    for (let seed = nextSeed++; seed < firstSeed + transfers; seed = nextSeed++) {
      client ??= await connectClient(frontDoor);
      const plan = planOf(seed);
      let canGoOn = false;
      try {
        canGoOn = await ask(client, plan);
      } catch (cause) {
        const { body, ...rest } = plan;
        throw new Error(`SEED=${seed} ${JSON.stringify({ ...rest, bytes: body.length })} ${String(cause)}`, {
          cause,
        });
      }
      if (canGoOn) continue;
      client.leave();
      client = undefined;
    }
    client?.leave();
  };
  await Promise.all(Array.from({ length: parallel }, work));
  // What is left are connections that wait for the next request: never more than there were requests at once.
  while (upstream.open > parallel || (await countSockets(frontDoor.pid)) > socketsBefore + upstream.open) {
    await delay(50);
  }
});
