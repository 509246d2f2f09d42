import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import {
  openPeer,
  PeerError,
  peerLimits,
  type ChannelMessage,
  type Peer,
  type PeerLimits,
  type PeerOptions,
} from '../../../src/clean/channel/peer.ts';

test('each ask gets the answer of its number, in any order', async (t) => {
  const late = defer<string>();
  const { asker } = await openPair(t, {
    onAsked: ({ kind }) => (kind === 'late' ? late.promise : Promise.resolve('at once')),
  });
  const first = asker.ask({ kind: 'late' }, 60_000);
  assert.equal(await asker.ask({ kind: 'now' }, 60_000), 'at once');
  late.resolve('later');
  assert.equal(await first, 'later');
});

test('what cannot be answered is told as an error, and the connection stays', async (t) => {
  const { asker } = await openPair(t, {
    onAsked: ({ kind }) => (kind === 'bad' ? Promise.reject(new Error('not today')) : Promise.resolve(null)),
  });
  await assert.rejects(asker.ask({ kind: 'bad' }, 60_000), { name: 'PeerError', message: 'not today' });
  assert.equal(await asker.ask({ kind: 'good' }, 60_000), null);
});

test('an answer that does not come in time is no answer, and comes too late', async (t) => {
  const never = defer<null>();
  const { asker } = await openPair(t, {
    onAsked: ({ kind }) => (kind === 'late' ? never.promise : Promise.resolve(null)),
  });
  await assert.rejects(asker.ask({ kind: 'late' }, 1), /did not answer "late" within 1 ms/);
  never.resolve(null);
  assert.equal(await asker.ask({ kind: 'now' }, 60_000), null);
});

test('an ask ends with the connection', async (t) => {
  const { asker, answererSocket } = await openPair(t, { onAsked: () => new Promise(() => {}) });
  const asked = asker.ask({ kind: 'any' }, 60_000);
  answererSocket.destroy();
  await assert.rejects(asked, PeerError);
  await assert.rejects(asker.ask({ kind: 'more' }, 60_000), PeerError);
});

test('a peer that says nothing is cut off; one that only pings is not', async (t) => {
  const quick = { ...peerLimits, pingMs: 20, silenceMs: 200 };
  const pinging = await openPair(t, {}, quick);
  const { socket, closed } = await openAgainstRaw(t, quick);
  socket.on('data', () => {});
  assert.deepEqual(await closed, { why: 'it has said nothing for 0.2 seconds', isFault: false });
  assert.equal(pinging.asker.closed.aborted, false);
});

test('what is no message closes the connection, as a fault', async (t) => {
  const cases = {
    'it sent a line that is no message': ['GET / HTTP/1.1\n', '[]\n', '"text"\n', '{"kind":7}\n', '\n'],
    'it sent a line that is too long': ['x'.repeat(200), `${'x'.repeat(200)}\n`],
  };
  for (const [why, texts] of Object.entries(cases))
    for (const text of texts) {
      const { socket, closed, told } = await openAgainstRaw(t, { ...peerLimits, maxLineBytes: 100 });
      socket.write(text);
      assert.deepEqual(await closed, { why, isFault: true });
      assert.deepEqual(told, []);
    }
});

test('lines come whole however they arrive', async (t) => {
  const { socket, told, heard } = await openAgainstRaw(t, peerLimits);
  const text = '{"kind":"one","text":"é"}\n{"kind":"two"}\n';
  for (const byte of Buffer.from(text)) {
    socket.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await heard(2);
  assert.deepEqual(told, [{ kind: 'one', text: 'é' }, { kind: 'two' }]);
});

test('a peer that asks too much at once is cut off', async (t) => {
  const { socket, closed } = await openAgainstRaw(t, { ...peerLimits, maxAsks: 2 });
  for (const number of [1, 2, 3]) socket.write(`{"kind":"any","number":${number}}\n`);
  assert.deepEqual(await closed, { why: 'it asks too much at once', isFault: true });
});

test('a peer that does not read is cut off', async (t) => {
  const { peer, closed } = await openAgainstRaw(t, { ...peerLimits, maxUnsentBytes: 1_000_000 });
  while (!peer.closed.aborted) peer.tell({ kind: 'any', text: 'x'.repeat(100_000) });
  assert.deepEqual(await closed, { why: 'it does not read what is sent to it', isFault: false });
});

async function openSockets(t: TestContext): Promise<readonly [Socket, Socket]> {
  const server = createServer();
  t.after(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const one = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [other] = await accepted;
  one.on('error', () => {});
  other.on('error', () => {});
  t.after(() => one.destroy());
  t.after(() => other.destroy());
  return [one, other];
}

const silent: PeerOptions = {
  onTold: () => {},
  onAsked: () => new Promise(() => {}),
  onClosed: () => {},
};

async function openPair(t: TestContext, options: Partial<PeerOptions>, limits: PeerLimits = peerLimits) {
  const [one, other] = await openSockets(t);
  openPeer(other, { ...silent, ...options, limits });
  return { asker: openPeer(one, { ...silent, limits }), answererSocket: other };
}

/** A peer, and the bare socket at its other end. */
async function openAgainstRaw(t: TestContext, limits: PeerLimits) {
  const [socket, other] = await openSockets(t);
  const told: ChannelMessage[] = [];
  const closed = defer<{ why: string; isFault: boolean }>();
  let onTold = () => {};
  const peer: Peer = openPeer(other, {
    ...silent,
    limits,
    onTold: (message) => {
      told.push(message);
      onTold();
    },
    onClosed: (why, isFault) => closed.resolve({ why, isFault }),
  });
  const heard = (count: number) =>
    new Promise<void>((resolve) => {
      onTold = () => {
        if (told.length >= count) resolve();
      };
      onTold();
    });
  return { socket, peer, told, heard, closed: closed.promise };
}

function defer<Value>() {
  let resolve: (value: Value) => void = () => {};
  const promise = new Promise<Value>((settle) => (resolve = settle));
  return { promise, resolve };
}
