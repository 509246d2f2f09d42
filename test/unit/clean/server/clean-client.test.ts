import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { askCleaner } from '../../../../src/clean/server/clean-client.ts';
import { listenOn } from '../../../../src/system/unix-socket.ts';

test('a cleaner is read only as fast as its text is printed', { timeout: 60_000 }, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'tidegate-clean-'));
  const socketPath = join(dir, 'clean.sock');
  const server = createServer();
  await listenOn(server, socketPath);
  t.after(async () => {
    server.close();
    await rm(dir, { recursive: true });
  });
  const line = `${JSON.stringify({ text: 'x'.repeat(32_768) })}\n`;
  const lines = 2000;
  let told = 0;
  const answer = async (socket: Socket) => {
    await once(socket, 'data');
    for (; told < lines; told += 1) if (!socket.write(line)) await once(socket, 'drain');
    socket.end(`${JSON.stringify({ end: { goes: true } })}\n`);
  };
  server.on('connection', (socket: Socket) => void answer(socket));
  let printed = 0;
  const onText = async () => {
    for (let turns = 0; turns < 3; turns += 1) await turn();
    printed += 1;
    // What waits in the sockets.
    assert.ok(told - printed < 200, `${told} were told when ${printed} were printed`);
  };
  assert.deepEqual(
    await askCleaner(socketPath, { command: 'plan', json: false, all: false, columns: 80 }, { onText }),
    {
      goes: true,
    },
  );
  assert.equal(printed, lines);
});

test('who sends a line without an end is no cleaner', { timeout: 60_000 }, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'tidegate-clean-'));
  const socketPath = join(dir, 'clean.sock');
  const server = createServer((socket) => socket.on('error', () => {}).write('x'.repeat(2 ** 21)));
  await listenOn(server, socketPath);
  t.after(async () => {
    server.close();
    await rm(dir, { recursive: true });
  });
  await assert.rejects(askCleaner(socketPath, { command: 'run' }, { onText: () => {} }), /Another program/);
});
