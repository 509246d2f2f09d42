import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { pino } from 'pino';
import { askCleaner } from '../../../../src/clean/server/clean-client.ts';
import {
  openCleaner,
  type Cleaner,
  type CleanWork,
  type EndedJob,
} from '../../../../src/clean/server/cleaner.ts';
import type { CleanCommand, Progress } from '../../../../src/clean/server/messages.ts';
import { OperatorError } from '../../../../src/system/operator-error.ts';
import { connectTo } from '../../../../src/system/unix-socket.ts';

/** Work of which each test says what it is about. */
const noWork: CleanWork = {
  plan: () => Promise.resolve({ pieces: ['pl', 'an\n'], goes: true }),
  run: () => Promise.resolve('run\n'),
  findWait: () => Promise.resolve(null),
  pausesWrites: false,
  undo: (run) => Promise.resolve(`undo ${run}\n`),
  purge: () => Promise.resolve('purge\n'),
  purgeExpired: () => Promise.resolve(),
  removeTag: ({ repository, tag }) => Promise.resolve(`${repository}:${tag}\n`),
  status: (_, { job }) => Promise.resolve(JSON.stringify(job?.name ?? null)),
  ended: () => Promise.resolve(),
};

const noRecord = { read: () => Promise.resolve(null), note: () => Promise.resolve() };

async function open(
  t: TestContext,
  work: Partial<CleanWork> = {},
  acceptDoor: (socket: Socket) => void = () => {},
): Promise<{
  cleaner: Cleaner;
  socket: string;
  ask: (command: CleanCommand, stop?: Promise<void>) => Promise<Heard>;
}> {
  const folder = await mkdtemp(path.join(tmpdir(), 'tidegate-clean-'));
  const socket = path.join(folder, 'clean', 'clean.sock');
  const cleaner = await openCleaner({
    ...{ socket, acceptDoor, record: noRecord, schedule: null, logger: pino({ level: 'silent' }) },
    work: { ...noWork, ...work },
  });
  t.after(async () => {
    await cleaner.close();
    await rm(folder, { recursive: true });
  });
  return { cleaner, socket, ask: (command, stop) => ask(socket, command, stop) };
}

type Heard = { readonly text: string; readonly progress: readonly Progress[]; readonly goes: boolean | null };

async function ask(socket: string, command: CleanCommand, stop?: Promise<void>): Promise<Heard> {
  let text = '';
  const progress: Progress[] = [];
  const end = await askCleaner(socket, command, {
    onText: (piece) => (text += piece),
    onProgress: (each) => progress.push(each),
    onBegin: (stopJob) => void stop?.then(stopJob),
  });
  return { text, progress, goes: end?.goes ?? null };
}

/** A promise to keep from outside. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

describe("the cleaner's socket", { timeout: 240_000 }, () => {
  test('each command is done, and its text arrives whole', async (t) => {
    const long = `${'ä€😀'.repeat(200_000)}\n`;
    const { ask } = await open(t, { plan: () => Promise.resolve({ pieces: [long], goes: true }) });
    const plan = await ask({ command: 'plan', json: false, all: false, columns: 80 });
    assert.equal(plan.goes, true);
    assert.ok(plan.text === long, 'another text');
    for (const [command, text] of [
      [{ command: 'run' }, 'run\n'],
      [{ command: 'undo', run: null }, 'undo null\n'],
      [{ command: 'undo', run: '20260101-000000-abcd' }, 'undo 20260101-000000-abcd\n'],
      [{ command: 'purge' }, 'purge\n'],
      [{ command: 'remove-tag', repository: 'team/app', tag: '1.0' }, 'team/app:1.0\n'],
      [{ command: 'status', json: true }, 'null'],
    ] as const)
      assert.deepEqual(await ask(command), { text, progress: [], goes: false });
  });

  test('is for its user and group, in a folder that is created', async (t) => {
    const { socket } = await open(t);
    assert.equal((await stat(socket)).mode & 0o777, 0o660);
    assert.equal((await stat(path.dirname(socket))).mode & 0o007, 0);
  });

  test('another cleaner, and a file that is no socket, are refused', async (t) => {
    const { socket } = await open(t);
    const options = {
      ...{ acceptDoor: () => {}, record: noRecord, schedule: null },
      ...{ logger: pino({ level: 'silent' }), work: noWork },
    };
    await assert.rejects(openCleaner({ ...options, socket }), {
      name: 'OperatorError',
      message: /^Another cleaner listens on .*clean\.sock: end it first/,
    });
    const file = path.join(path.dirname(socket), 'file');
    await writeFile(file, 'mine');
    await assert.rejects(openCleaner({ ...options, socket: file }), {
      name: 'OperatorError',
      message: /file \(clean\.socket\) cannot be opened: there is a file that is no socket/,
    });
    assert.equal((await stat(file)).size, 4);
  });

  test('nobody listening is no error of its own; another program is told apart', async (t) => {
    const { socket } = await open(t);
    const missing = path.join(path.dirname(socket), 'missing.sock');
    assert.equal(await askCleaner(missing, { command: 'run' }, { onText: () => {} }), null);
    const other = path.join(path.dirname(socket), 'other.sock');
    const server = createServer((connected) => connected.end('220 mail ready\r\n')).listen(other);
    t.after(() => server.close());
    await once(server, 'listening');
    await assert.rejects(ask(other, { command: 'run' }), /Another program than the cleaner answered/);
  });

  test('a front door gets its connection with its hello still to be read', async (t) => {
    const door = gate();
    let heard = '';
    const { socket } = await open(t, {}, (connected) => {
      connected.on('data', (bytes: Buffer) => {
        heard += bytes.toString();
        if (heard.endsWith('second"}\n')) door.open();
      });
    });
    const connected = await connectTo(socket);
    assert.ok(connected);
    connected.write('{"kind":');
    connected.write('"hello"}\n{"kind":"first"}\n');
    connected.write('{"kind":"second"}\n');
    await door.opened;
    assert.equal(heard, '{"kind":"hello"}\n{"kind":"first"}\n{"kind":"second"}\n');
    connected.destroy();
  });

  for (const line of ['', 'GET / HTTP/1.1', '[]', '{"command":"format"}', '{"command":"undo","run":"../x"}'])
    test(`teaches one who says ${JSON.stringify(line)}`, async (t) => {
      const { socket } = await open(t);
      const connected = await connectTo(socket);
      assert.ok(connected);
      connected.write(`${line}\n`);
      let heard = '';
      for await (const bytes of connected) heard += String(bytes);
      assert.match(heard, /^\{"error":"The cleaner does not know this command: is it of another version\?/);
    });
});

describe('jobs of the cleaner', { timeout: 240_000 }, () => {
  test('one at a time: a second one is told what goes on, and status shows it', async (t) => {
    const begun = gate();
    const end = gate();
    const { ask } = await open(t, {
      run: async ({ onProgress }) => {
        onProgress({ phase: 'reading the storage', done: 7, total: null });
        begun.open();
        await end.opened;
        return 'done\n';
      },
    });
    const run = ask({ command: 'run' });
    await begun.opened;
    assert.equal((await ask({ command: 'status', json: true })).text, '"run"');
    for (const command of [
      { command: 'run' },
      { command: 'purge' },
      { command: 'plan', json: false, all: false, columns: 80 },
    ] as const)
      await assert.rejects(ask(command), {
        name: 'OperatorError',
        message:
          /^The cleaner is busy: tidegate clean run has been running since 20.*tidegate clean status shows/,
      });
    end.open();
    assert.deepEqual(await run, {
      text: 'done\n',
      progress: [{ phase: 'reading the storage', done: 7, total: null }],
      goes: false,
    });
    assert.equal((await ask({ command: 'status', json: true })).text, 'null');
  });

  test('one that fails says why, and is told as ended; the next one begins', async (t) => {
    const ended: EndedJob[] = [];
    const { ask } = await open(t, {
      run: () => Promise.reject(new OperatorError('The disk is full: free some of it.')),
      ended: (job) => Promise.resolve(void ended.push(job)),
    });
    for (let i = 0; i < 2; i++)
      await assert.rejects(ask({ command: 'run' }), {
        name: 'OperatorError',
        message: 'The disk is full: free some of it.',
      });
    assert.deepEqual(
      ended.map(({ name, by, error }) => [name, by, error]),
      Array(2).fill(['run', 'command', 'The disk is full: free some of it.']),
    );
  });

  test('a run goes on when its command is gone, and stops when it asks for that', async (t) => {
    const begun = gate();
    const end = gate();
    const signals: AbortSignal[] = [];
    const { ask, socket } = await open(t, {
      run: async ({ signal }) => {
        signals.push(signal);
        begun.open();
        if (signals.length === 1) await end.opened;
        else await once(signal, 'abort');
        return 'stopped\n';
      },
    });
    const connected = await connectTo(socket);
    connected?.write('{"command":"run"}\n');
    await begun.opened;
    connected?.destroy();
    assert.equal((await ask({ command: 'status', json: true })).text, '"run"');
    assert.equal(signals[0]?.aborted, false);
    end.open();
    // Until it has ended there is no second one.
    while ((await ask({ command: 'status', json: true })).text !== 'null');
    assert.equal((await ask({ command: 'run' }, Promise.resolve())).text, 'stopped\n');
  });

  test('a plan ends when its command is gone', async (t) => {
    const begun = gate();
    const aborted = gate();
    const { socket } = await open(t, {
      plan: async ({ json }, { signal }) => {
        assert.equal(json, true);
        begun.open();
        await once(signal, 'abort');
        aborted.open();
        return { pieces: [], goes: false };
      },
    });
    const connected = await connectTo(socket);
    connected?.write('{"command":"plan","json":true,"all":false,"columns":80}\n');
    await begun.opened;
    connected?.destroy();
    await aborted.opened;
  });

  test('a cleaner that closes stops its run first, tells its command, and begins no other', async (t) => {
    const begun = gate();
    const { cleaner, ask } = await open(t, {
      run: async ({ signal }) => {
        begun.open();
        await once(signal, 'abort');
        return 'stopped at a safe point\n';
      },
    });
    const run = ask({ command: 'run' });
    await begun.opened;
    await cleaner.close();
    assert.equal((await run).text, 'stopped at a safe point\n');
  });
});
