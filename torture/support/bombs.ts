import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { startFrontDoor, user } from '../../test/support/front-door.ts';
import { head } from '../../test/support/http-message.ts';
import { logIn } from '../../test/support/logins.ts';
import { readMemory } from '../../test/support/process-status.ts';
import { tidegate } from '../../test/support/processes.ts';
import { authorized, connectClient, exchange } from '../../test/support/raw-client.ts';
import { answerOk, startUpstream, type UpstreamRequest } from '../../test/support/scripted-upstream.ts';
import { besideHealthyClient } from './beside.ts';
import type { Good } from './bystander.ts';
import { newcomerLine, tryLockedOut } from './locked-out.ts';
import { createRandom } from './random.ts';

const mib = 1024 ** 2;
/** The blob that a bystander pulls. */
const good: Good = { target: '/v2/healthy/blobs/x', bytes: Buffer.from('ok') };
/** How many connections to upstream may be kept afterwards. */
const keptConnections = 8;
/** How much Tidegate's peak memory may grow; the bombs hold many times more. */
const allowedGrowthBytes = 160 * mib;

/** Content that grows when unpacked or parsed: it is forwarded byte for byte, and not kept in memory. */
export async function throwMemoryBombs(): Promise<number> {
  const bomb = gzipSync(Buffer.alloc(256 * mib));
  const received: Buffer[] = [];
  const upstream = await startUpstream({
    script: async (request) => {
      const { body } = await request.body();
      if (request.startLine.startsWith('PUT')) received.push(body);
      if (request.startLine.includes('/healthy'))
        request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok');
      else if (request.startLine.includes('/endless')) await sendMuch(request);
      else if (request.startLine.includes('/bomb'))
        request.answer(
          head(
            'HTTP/1.1 200 OK',
            'Content-Encoding: gzip',
            'Content-Type: application/json',
            `Content-Length: ${bomb.length}`,
          ),
          bomb,
        );
      else request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
    },
  });
  const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
  const attack = async () => {
    const before = await readMemory(frontDoor.pid);
    let tried = 0;
    const put = async (body: Buffer, ...lines: string[]) => {
      tried += 1;
      const request = authorized('PUT /v2/app/manifests/x', `Content-Length: ${body.length}`, ...lines);
      const { status } = await exchange(frontDoor, request, body);
      assert.equal(status, 201);
      assert.ok(received.at(-1)?.equals(body), 'it arrived byte for byte');
    };
    await put(bomb, 'Content-Encoding: gzip', 'Content-Type: application/vnd.oci.image.manifest.v1+json');
    const manifest = 'Content-Type: application/vnd.oci.image.manifest.v1+json';
    await put(Buffer.from('['.repeat(4 * mib)), manifest);
    await put(Buffer.from('{"a":'.repeat(700_000)), manifest);
    await put(Buffer.from(`{"__proto__":{"x":1},"mediaType":{},"subject":"${'x'.repeat(mib)}"}`), manifest);
    for (const times of [1, 2, 3]) {
      tried += 1;
      const { body } = await exchange(frontDoor, authorized(`GET /v2/app/manifests/bomb`));
      assert.ok(body.equals(bomb), `pull ${times} is byte for byte`);
    }
    await Promise.all(
      [1, 2, 3, 4].map(async (number) => {
        const client = await connectClient(frontDoor);
        client.send(authorized(`GET /v2/app/manifests/endless-${number}`));
        await client.responseHead();
        assert.ok((await client.reader.discard(muchBytes)) >= muchBytes);
        client.leave();
      }),
    );
    tried += 4;
    for (const line of longLines()) {
      tried += 1;
      const { status } = await exchange(frontDoor, line);
      assert.ok(status < 500, `${status} to ${line.slice(0, 200)}`);
    }
    const { peakBytes } = await readMemory(frontDoor.pid);
    const grownBytes = peakBytes - before.nowBytes;
    assert.ok(grownBytes < allowedGrowthBytes, `it grew by ${Math.round(grownBytes / mib)} MiB`);
    return tried;
  };
  try {
    return await besideHealthyClient(frontDoor, good, keptConnections, attack);
  } finally {
    await frontDoor.stop();
    await upstream.close();
  }
}

const muchBytes = 64 * mib;

async function sendMuch(request: UpstreamRequest): Promise<void> {
  const { socket } = request;
  request.answer(
    head(
      'HTTP/1.1 200 OK',
      'Content-Type: application/vnd.oci.image.manifest.v1+json',
      'Transfer-Encoding: chunked',
    ),
  );
  const chunk = Buffer.concat([Buffer.from('100000\r\n'), randomBytes(mib), Buffer.from('\r\n')]);
  const heard = (event: 'close' | 'drain') => new Promise((resolve) => socket.once(event, resolve));
  const gone = heard('close');
  for (let sent = 0; sent < muchBytes && !socket.destroyed; sent += mib)
    if (!socket.write(chunk)) await Promise.race([heard('drain'), gone]);
  request.answer('0\r\n\r\n');
}

/** Heads full of items that some parser splits. */
function longLines(): string[] {
  const full = (piece: string) => piece.repeat(Math.floor(30_000 / piece.length));
  return [
    authorized('GET /v2/app/manifests/x', `Accept: ${full('a/b;q=0,')}`),
    authorized('GET /v2/app/manifests/x', `Accept: ${full(';q=0')}`),
    authorized('GET /v2/app/blobs/x', `Range: bytes=${full('0-0,')}1-1`),
    authorized('GET /v2/app/manifests/x', `Connection: ${full('a,')}close`),
    authorized(`GET /v2/${full('a/')}manifests/x`),
    authorized(`GET /v2/${full('manifests/')}x`),
    authorized(`GET /v2/app/manifests/x?${full('tag=a&')}`),
    authorized(`GET /v2/${full('%2e')}x`),
    authorized('GET /v2/', `User-Agent: ${full('docker/ (')}`),
    authorized('GET /v2/', `X-Forwarded-For: ${full('1,')}`),
    authorized('GET /v2/', `Cookie: ${full('a=b; ')}`),
    ...['tracestate', 'traceparent', 'X-Request-Id', 'Authorization', 'If-None-Match', 'Forwarded'].flatMap(
      (name) =>
        [' ', '\t', ',', '=', '/', 'a ', '"', '\\', '(', '-'].map((piece) =>
          head(
            'GET /v2/x HTTP/1.1',
            'Host: a',
            'traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01',
            `${name}: a${full(piece)}a`,
          ),
        ),
    ),
  ];
}

/** Hashes that would take days to check: they are never computed. */
export async function throwHashBombs(): Promise<number> {
  const digest = (length: number) => 'a'.repeat(length);
  const bombs = [
    ...[15, 20, 31].map((cost) => `$2y$${cost}$${digest(21)}.${digest(30)}O`),
    ...['$5', '$6'].flatMap((kind) =>
      ['500001', '999999999'].map(
        (rounds) => `${kind}$rounds=${rounds}$salt$${digest(kind === '$5' ? 43 : 86)}`,
      ),
    ),
  ];
  const lines = bombs.map((hash, number) => `bomb${number}:${hash}\n`).join('');
  const upstream = await startUpstream({ script: answerOk });
  const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: throttleOff });
  const attack = async () => {
    const own = await readFile(frontDoor.htpasswdPath, 'utf8');
    await writeFile(frontDoor.htpasswdPath, `${lines}${own}`);
    await frontDoor.logged(({ msg }) => msg.includes('lines that never match'));
    for (const number of bombs.keys()) {
      const { status } = await logIn(frontDoor, { name: `bomb${number}`, password: 'x' });
      assert.equal(status, 401);
    }
    assert.equal((await logIn(frontDoor, { name: user, password: 'open: sesame' })).status, 200);
    const file = path.join(frontDoor.dir, 'bombs');
    await writeFile(file, lines);
    for (const args of [['list'], ['verify', 'bomb0'], ['verify', 'bomb2'], ['verify', 'bomb6']]) {
      const { code, stdout } = await tidegate(['user', ...args, '--file', file], {
        input: 'x\n',
        timeoutMs: 20_000,
      });
      assert.equal(code, args[0] === 'list' ? 0 : 1, stdout);
    }
    return bombs.length * 2 + 4;
  };
  try {
    return await besideHealthyClient(frontDoor, good, keptConnections, attack);
  } finally {
    await frontDoor.stop();
    await upstream.close();
  }
}

const throttleOff = [
  'auth.throttle.addressFailures=0',
  'auth.throttle.nameFailures=0',
  'auth.throttle.repeatFailures=0',
];

/** Passwords tried from many addresses, the right one among them where it must not count, while somebody works on: counts how many were looked at, and how often that one was answered. */
export async function stuffCredentials(
  seed: number,
  addresses: number,
  triesEach: number,
): Promise<{ tried: number; lookedAt: number; ofOneName: number; served: number }> {
  const upstream = await startUpstream({ script: answerOk });
  const frontDoor = await startFrontDoor({
    upstreamUrl: upstream.url,
    // bcrypt of the password that they work with, at cost 4
    htpasswd: `${user}:$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm\n${newcomerLine}`,
    // What is not looked at is answered late, which would make this long.
    set: ['auth.tokens=on', 'admin.port=0', 'auth.throttle.answerDelay=50ms'],
  });
  let [lookedAt, ofOneName, served, isOver] = [0, 0, 0, false];
  try {
    const work = async () => {
      const client = await connectClient(frontDoor);
      while (!isOver) {
        client.send(authorized('GET /v2/app/blobs/x'));
        assert.equal((await client.response()).status, 200, 'somebody who works on');
        served += 1;
      }
      client.leave();
    };
    const working = work();
    working.catch(() => {}); // it rejects with Tidegate's end, if something else broke first
    const random = createRandom(seed);
    const attack = async (number: number) => {
      const one = random.fork(number);
      const client = await connectClient(frontDoor, {
        localAddress: `127.0.${2 + (number >> 7)}.${1 + (number & 127)}`,
      });
      for (let i = 0; i < triesEach; i += 1) {
        // So many for one name that without its own limit those of the addresses let more through.
        const name = one.onceIn(4) ? `user${one.below(1000)}` : user;
        const password = Buffer.from(`${name}:guess-${one.below(1e9)}`).toString('base64');
        client.send(head('GET /v2/app/blobs/x HTTP/1.1', 'Host: a', `Authorization: Basic ${password}`));
        const { status } = await client.response();
        assert.ok(status === 401 || status === 429 || status === 503, `a guess was answered ${status}`);
        if (status !== 401) continue;
        lookedAt += 1;
        if (name === user) ofOneName += 1;
      }
      client.leave();
    };
    await Promise.all(Array.from({ length: addresses }, (_, number) => attack(number)));
    const triedLockedOut = await tryLockedOut(frontDoor);
    isOver = true;
    await working;
    return { tried: addresses * triesEach + triedLockedOut, lookedAt, ofOneName, served };
  } finally {
    isOver = true;
    await frontDoor.stop();
    await upstream.close();
  }
}

/** How long refusals take, in milliseconds, to wrong passwords of a name that exists and of names that do not, taken in turns. */
export async function timeNames(pairs: number): Promise<{ known: number[]; unknown: number[] }> {
  const upstream = await startUpstream({ script: answerOk });
  const frontDoor = await startFrontDoor({
    upstreamUrl: upstream.url,
    set: throttleOff,
    // bcrypt of cost 8, so that much of the time is the hash's and many can be taken.
    htpasswd: 'alice:$2b$08$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2\n',
  });
  const times = { known: [] as number[], unknown: [] as number[] };
  try {
    const client = await connectClient(frontDoor);
    const time = async (name: string, number: number) => {
      const pair = Buffer.from(`${name}:guess-${number}`).toString('base64');
      const startedAtMs = performance.now();
      client.send(head('GET /v2/app/blobs/x HTTP/1.1', 'Host: a', `Authorization: Basic ${pair}`));
      const response = await client.response();
      assert.equal(response.status, 401);
      return performance.now() - startedAtMs;
    };
    for (let number = 0; number < pairs; number += 1) {
      const unknown = `a${number.toString(36).padStart(4, '0')}`;
      if (number % 2 === 0) {
        times.known.push(await time('alice', number));
        times.unknown.push(await time(unknown, number));
      } else {
        times.unknown.push(await time(unknown, number));
        times.known.push(await time('alice', number));
      }
    }
    client.leave();
    return times;
  } finally {
    await frontDoor.stop();
    await upstream.close();
  }
}
