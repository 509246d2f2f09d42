import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { anonymous } from '../../test/support/raw-client.ts';
import type { Trial } from '../trial.ts';
import { eachAtOnce, longestMs, sendInClear, type ClientRig } from './client-rig.ts';
import { within } from './within.ts';

const endings = ['FIN', 'RST'] as const;

/** The first bytes that a real TLS client sends. */
async function recordHello(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connectTls({ ...options, host: '127.0.0.1', port, servername: 'localhost' });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [TLSSocket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  server.close();
  return hello;
}

/** Whether it is nothing, an alert (of the version that the hello named, whatever that was), or a handshake that goes on. */
const isTls = (bytes: Buffer) =>
  bytes.length === 0 || (bytes[0] === 0x15 && bytes.length === 7) || (bytes[0] === 0x16 && bytes[1] === 3);

/** The client leaves after each byte of its hello. */
async function runCutHellos({ frontDoor, bystander, form }: ClientRig): Promise<number> {
  const hello = await recordHello({});
  const stride = form === 'quick' ? 4 : 1;
  const cases = endings.flatMap((ending) =>
    Array.from({ length: Math.floor(hello.length / stride) }, (_, i) => ({ at: i * stride, ending })),
  );
  const count = await eachAtOnce(16, cases, async ({ at, ending }) => {
    const what = `${ending} after ${at} bytes of a hello`;
    const received = await sendInClear(frontDoor.port, [hello.subarray(0, at)], ending, what);
    assert.ok(isTls(received), `${what}: ${received.toString('latin1', 0, 80)}`);
  });
  bystander.check();
  return count;
}

/** Hellos of which a byte is another; the client ends its side and waits. */
async function runMutatedHellos({ frontDoor, bystander, form, random }: ClientRig): Promise<number> {
  const hello = await recordHello({ ALPNProtocols: ['http/1.1'] });
  const rounds = { quick: 0.5, ci: 8, long: 100 }[form];
  const cases = Array.from({ length: rounds * hello.length }, (_, i) =>
    form === 'quick' ? random.below(hello.length) : i % hello.length,
  );
  const count = await eachAtOnce(16, cases, async (at) => {
    const bytes = Buffer.from(hello);
    bytes[at] = (bytes[at] ?? 0) ^ (1 + random.below(255));
    const what = `a hello with byte ${at} changed to ${bytes[at]}`;
    const received = await sendInClear(frontDoor.port, [bytes], 'FIN', what);
    assert.ok(isTls(received), `${what}: ${received.toString('latin1', 0, 80)}`);
  });
  bystander.check();
  return count;
}

/** SSL 2.0's hello, in its own form of a record, which says that it could speak this newest version too. */
const ssl2Hello = (version: number) =>
  Buffer.from(
    [0x80, 0x2e, 1, version >> 8, version & 255, 0, 0x15, 0, 0, 0, 0x10].concat(
      [7, 0, 0xc0, 3, 0, 0x80, 1, 0, 0x80, 6, 0, 0x40, 4, 0, 0x80, 2, 0, 0x80, 0, 0, 4], // seven suites of then
      Array.from({ length: 16 }, (_, i) => i),
    ),
  );

async function runOldHellos({ frontDoor, bystander }: ClientRig): Promise<number> {
  const old: [string, Buffer][] = [
    ['SSL 2.0', ssl2Hello(2)],
    ['SSL 2.0 that offers 3.0', ssl2Hello(0x300)],
    ['SSL 2.0 that offers TLS 1.2', ssl2Hello(0x303)],
  ];
  for (const version of ['TLSv1', 'TLSv1.1'] as const) {
    const hello = await recordHello({
      ...{ minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' },
    });
    old.push([version, hello]);
    if (version === 'TLSv1') {
      const ssl3 = Buffer.from(hello);
      ssl3[2] = ssl3[10] = 0; // the record's version and the hello's: 3.0
      old.push(['SSL 3.0', ssl3]);
    }
  }
  for (const [what, hello] of old) {
    const received = await sendInClear(frontDoor.port, [hello], 'stay', what);
    // An alert, or nothing; in any case the end.
    assert.ok(received.length === 0 || received[0] === 0x15, `${what}: ${received.toString('hex', 0, 80)}`);
  }
  bystander.check();
  return old.length;
}

/** The list of protocols in a hello, broken in each way that its lengths allow. */
async function runBrokenAlpn({ frontDoor, bystander }: ClientRig): Promise<number> {
  const hello = await recordHello({ ALPNProtocols: ['http/1.1'] });
  const name = Buffer.from('\x08http/1.1', 'latin1');
  const at = hello.indexOf(name);
  assert.ok(at > 0, 'the hello has the list');
  const broken: (readonly [string, (bytes: Buffer) => void])[] = [
    ['a name of no bytes', (bytes) => (bytes[at] = 0)],
    ['a name that is too long for the list', (bytes) => (bytes[at] = 9)],
    ['a name that ends before the list', (bytes) => (bytes[at] = 7)],
    ['an empty list', (bytes) => bytes.writeUInt16BE(0, at - 2)],
    ['a list that is longer than its field', (bytes) => bytes.writeUInt16BE(10, at - 2)],
    ['a list that is shorter than its field', (bytes) => bytes.writeUInt16BE(8, at - 2)],
    ['a field that is longer than the hello', (bytes) => bytes.writeUInt16BE(0xffff, at - 4)],
    ['a field of nothing', (bytes) => bytes.writeUInt16BE(0, at - 4)],
    ['a protocol that nobody knows', (bytes) => bytes.fill('x', at + 1, at + 9)],
    ['a protocol of zeros', (bytes) => bytes.fill(0, at + 1, at + 9)],
  ];
  for (const [what, breakIt] of broken) {
    const bytes = Buffer.from(hello);
    breakIt(bytes);
    const received = await sendInClear(frontDoor.port, [bytes], 'stay', `ALPN with ${what}`);
    assert.ok(
      received.length === 0 || received[0] === 0x15,
      `ALPN with ${what}: ${received.toString('hex', 0, 80)}`,
    );
  }
  bystander.check();
  return broken.length;
}

/** Clients that want to negotiate anew, as TLS 1.2 knows it: each time would cost the server a signature. */
async function runRenegotiation({ frontDoor, bystander, form }: ClientRig): Promise<number> {
  const clients = { quick: 10, ci: 100, long: 1000 }[form];
  for (let client = 0; client < clients; client++) {
    const socket = connectTls({
      ...{ host: '127.0.0.1', port: frontDoor.port, ca: frontDoor.ca, servername: 'localhost' },
      maxVersion: 'TLSv1.2',
    });
    await once(socket, 'secureConnect');
    socket.resume();
    const outcome = new Promise<'done' | 'refused'>((resolve) => {
      socket.once('error', () => resolve('refused')).once('close', () => resolve('refused'));
      socket.renegotiate({ rejectUnauthorized: true }, (error) => resolve(error ? 'refused' : 'done'));
    });
    assert.equal(await within(longestMs, 'a renegotiation', outcome), 'refused', 'a renegotiation');
    socket.destroy();
  }
  bystander.check();
  return clients;
}

const sentence = 'This port speaks HTTPS only: use https:// in place of http://.\n';

/** HTTP without TLS gets one sentence, in whatever pieces it comes; what only looks a little like it gets nothing. */
async function runPlainHttp({ frontDoor, bystander, form, random }: ClientRig): Promise<number> {
  const isSentence = (bytes: Buffer) => bytes.toString().endsWith(`\r\n\r\n${sentence}`);
  const rounds = { quick: 10, ci: 100, long: 1000 }[form];
  const cases = Array.from({ length: rounds }, () => ['GET', 'HEAD', 'POST', 'PUT', 'CONNECT']).flat();
  let count = await eachAtOnce(16, cases, async (method) => {
    const text = Buffer.from(anonymous(`${method} /v2/${'x'.repeat(random.below(400))}`));
    const cut = 1 + random.below(20);
    const pieces = random.onceIn(2) ? [text] : [text.subarray(0, cut), text.subarray(cut)];
    const received = await sendInClear(
      frontDoor.port,
      pieces,
      random.onceIn(2) ? 'FIN' : 'stay',
      `plain ${method}`,
    );
    assert.ok(isSentence(received), `plain ${method}: ${received.toString('latin1', 0, 200)}`);
  });
  const others = [
    'GET',
    'GE',
    'get / HTTP/1.1\r\n\r\n',
    'DELETE / HTTP/1.1\r\n\r\n',
    'SSH-2.0-x\r\n',
    '\r\n\r\nGET / HTTP/1.1\r\n\r\n',
    '\0\0\0\0\0\0',
  ];
  for (const text of others) {
    const received = await sendInClear(frontDoor.port, [text], 'FIN', JSON.stringify(text));
    assert.ok(isTls(received), `${JSON.stringify(text)}: ${received.toString('latin1', 0, 200)}`);
    count += 1;
  }
  bystander.check();
  return count;
}

/** What goes wrong before there is a request. */
export function clientHellos(rig: ClientRig): Trial[] {
  return [
    { name: 'leaves after each byte of its TLS hello', run: () => runCutHellos(rig) },
    { name: 'a TLS hello with each byte changed', run: () => runMutatedHellos(rig) },
    { name: 'SSL 2.0, SSL 3.0, TLS 1.0, TLS 1.1: refused', run: () => runOldHellos(rig) },
    { name: 'broken lists of protocols (ALPN): refused', run: () => runBrokenAlpn(rig) },
    { name: 'negotiates TLS anew on a connection: refused', run: () => runRenegotiation(rig) },
    { name: 'plain HTTP on the TLS port: a plain sentence', run: () => runPlainHttp(rig) },
  ];
}
