import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { basic, startFrontDoor, type FrontDoor } from '../../test/support/front-door.ts';
import { authorized, exchange } from '../../test/support/raw-client.ts';
import { atOnce } from './at-once.ts';
import { anyByte, characters, damaged, inOrder, oneOf, repeated, usually, type Rule } from './grammar.ts';
import { readHoldings, untilBack } from './leak-check.ts';
import { createRandom } from './random.ts';
import { startRecordingUpstream } from './recording-upstream.ts';
import { registryMethod, registryPath, registryQuery } from './registry-targets.ts';
import { sendRaw } from './smuggling.ts';
import { readAnswers, readRequests } from './strict-http.ts';

/** The real program, to receive arbitrary bytes. */
export type RawBytesRig = {
  /** Sends texts within TLS, each on its own connection; describes what went wrong. */
  sendWithin(seed: number, count: number): Promise<string[]>;
  /** Sends damaged TLS ClientHellos, and other bytes, to the port. */
  sendTo(seed: number, count: number): Promise<string[]>;
  /** @throws Error if the program did not survive, logged an error, or holds more than before. */
  close(): Promise<void>;
};

const connectionsAtOnce = 32;

const fieldLine = oneOf(
  'Host: registry.example\r\n',
  inOrder('Host: ', characters('a.:[]/@1', 0, 12), '\r\n'),
  `Authorization: ${basic}\r\n`,
  inOrder('Authorization: Basic ', characters('aZ9+/=', 0, 30), '\r\n'),
  inOrder('Content-Length: ', oneOf('0', '1', '3', '-1', '99999999999999999999'), '\r\n'),
  'Transfer-Encoding: chunked\r\n',
  'Expect: 100-continue\r\n',
  'Connection: close\r\n',
  'Connection: Upgrade\r\nUpgrade: websocket\r\n',
  inOrder('Range: bytes=', characters('0123456789-,', 0, 20), '\r\n'),
  inOrder(characters('aX-_', 0, 9), ': ', repeated(anyByte, 0, 20), '\r\n'),
  inOrder('traceparent: 00-', characters('0a', 32, 32), '-', characters('0b', 16, 16), '-01\r\n'),
  inOrder('Cookie: ', characters('a=; ', 0, 2000), '\r\n'),
);
const request = inOrder(
  usually(registryMethod, 6, oneOf('CONNECT', 'TRACE', 'get', 'PRI', '', 'FOO', 'SOURCE', 'M-SEARCH')),
  ' ',
  registryPath,
  usually('', 3, inOrder('?', registryQuery)),
  usually(
    ' HTTP/1.1\r\n',
    6,
    oneOf(' HTTP/1.0\r\n', '\r\n', ' HTTP/2.0\r\n', ' HTTP/1.1\n', '  HTTP/1.1\r\n'),
  ),
  'Host: registry.example\r\n',
  repeated(fieldLine, 0, 5),
  '\r\n',
  usually('', 3, oneOf('abc', '3\r\nabc\r\n0\r\n\r\n', repeated(anyByte, 0, 40))),
);
const conversation: Rule = oneOf(
  repeated(request, 1, 3),
  damaged(repeated(request, 1, 3), 4),
  damaged(request, 12),
  repeated(anyByte, 0, 200),
);

export async function openRawBytesRig(): Promise<RawBytesRig> {
  const upstream = await startRecordingUpstream(() => {});
  const frontDoor = await startFrontDoor({
    upstreamUrl: upstream.url,
    set: [
      ...[
        'limits.idleTimeout=400ms',
        'limits.headerTimeout=400ms',
        'limits.handshakeTimeout=400ms',
        'limits.keepAliveTimeout=400ms',
      ],
      ...[
        'limits.refusedBodyTimeout=100ms',
        'auth.throttle.addressFailures=0',
        'auth.throttle.nameFailures=0',
      ],
      ...['auth.throttle.repeatFailures=0', 'cache.driver=memory'],
    ],
  }).catch(async (error: unknown) => {
    await upstream.close();
    throw error;
  });
  const hello = await recordHello();
  const before = await readHoldings(frontDoor.pid);
  const survives = async (): Promise<string[]> => {
    const faults = [...upstream.faults];
    const { status } = await exchange(frontDoor, authorized('GET /v2/after/all'));
    if (status !== 200) faults.push(`afterwards a plain request was answered ${status}`);
    for (const line of frontDoor.log) if (Number(line['level']) >= 50) faults.push(JSON.stringify(line));
    return faults;
  };
  return {
    sendWithin: async (seed, count) => {
      const faults: string[] = [];
      await atOnce(connectionsAtOnce, draw(conversation, seed, count), async ({ text, number }) => {
        const fault = await converse(frontDoor, text);
        if (fault !== null)
          faults.push(`seed ${seed}, number ${number}: ${fault}, sent ${JSON.stringify(text)}`);
      });
      return [...faults, ...(await survives())];
    },
    sendTo: async (seed, count) => {
      const handshake: Rule = oneOf(
        damaged(() => hello, 6),
        damaged(() => hello, 1),
        inOrder(() => hello.slice(0, 5), repeated(anyByte, 0, 600)),
        repeated(anyByte, 0, 300),
        damaged(request, 2),
      );
      const faults: string[] = [];
      await atOnce(connectionsAtOnce, draw(handshake, seed, count), async ({ text, number }) => {
        if (await isHung(frontDoor.port, text))
          faults.push(`seed ${seed}, number ${number}: it stayed open, sent ${JSON.stringify(text)}`);
      });
      return [...faults, ...(await survives())];
    },
    close: async () => {
      const { exitCode, signalCode } = frontDoor.process;
      const bad = frontDoor.log.find(({ level }) => Number(level) >= 50);
      // Connections to upstream are kept for a while, as many as there were requests at once.
      const descriptors = before.descriptors + connectionsAtOnce;
      const leak = await untilBack(frontDoor.pid, { ...before, descriptors }).catch(String);
      await frontDoor.stop();
      await upstream.close();
      if (leak !== undefined && exitCode === null && signalCode === null) throw new Error(leak);
      if (exitCode !== null || signalCode !== null)
        throw new Error(`the front door ended: ${exitCode ?? ''}${signalCode ?? ''}`);
      if (bad) throw new Error(`the front door logged ${JSON.stringify(bad)}`);
    },
  };
}

function* draw(rule: Rule, seed: number, count: number): Generator<{ text: string; number: number }> {
  const random = createRandom(seed);
  for (let number = 0; number < count; number += 1) yield { text: rule(random.fork(number)), number };
}

/** Describes what is wrong with the answers. */
async function converse(frontDoor: FrontDoor, text: string): Promise<string | null> {
  const { received, isHung } = await sendRaw(frontDoor, text);
  if (isHung) return 'the connection stayed open';
  const { messages, begun } = readRequests(text, 'several');
  const methods = (begun === null ? messages : [...messages, begun]).map(({ method }) => method);
  // To what is no strict HTTP, and could be a HEAD all the same, nobody can say whether an answer has a body.
  const answers = readAnswers(received, methods, true);
  if (answers.rest === 'invalid' && !/HEAD/i.test(text)) return `an answer is not valid (${answers.why})`;
  if (/^HTTP\/1\.1 500/m.test(received)) return 'a 500';
  return null;
}

/** Sends bytes without TLS and reads until the connection is closed; returns whether it never was. */
async function isHung(port: number, text: string): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  let isLate = false;
  socket.on('error', () => {});
  socket.resume();
  socket.write(Buffer.from(text, 'latin1'));
  const timer = setTimeout(() => {
    isLate = true;
    socket.destroy();
  }, longestMs);
  await new Promise((resolve) => socket.once('close', resolve)); // not once(), which a reset would have reject
  clearTimeout(timer);
  return isLate;
}

/** Much longer than any limit that was set, since the machine may be busy. */
const longestMs = 20_000;

/** The first message of a TLS client, as Latin-1. */
async function recordHello(): Promise<string> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connectTls({
    host: '127.0.0.1',
    port,
    servername: 'localhost',
    ALPNProtocols: ['http/1.1'],
  });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes.toString('latin1');
}
