import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { pino } from 'pino';
import { openDoors } from '../../src/clean/channel/open-doors.ts';
import { openKnownDoors } from '../../src/clean/channel/known-doors.ts';
import { openCleanFolder } from '../../src/clean/quarantine/clean-folder.ts';
import { disk } from '../../src/clean/quarantine/disk.ts';
import { readRuns } from '../../src/clean/quarantine/run-record.ts';
import { addTakenDigests } from '../../src/clean/quarantine/taken-digests.ts';
import { undoRun } from '../../src/clean/quarantine/undo.ts';
import { openCleaner } from '../../src/clean/server/cleaner.ts';
import { connectTo, listenOn } from '../../src/system/unix-socket.ts';
import { cleanCommand, startCleaner, type Cleaner } from '../support/cleaner.ts';
import { until } from '../support/redis.ts';

type Place = {
  readonly dir: string;
  readonly storage: string;
  readonly own: string;
  readonly socket: string;
};

async function makePlace(t: TestContext): Promise<Place> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-clean-'));
  const storage = path.join(dir, 'storage');
  await mkdir(path.join(storage, 'docker/registry/v2/repositories'), { recursive: true });
  await mkdir(path.join(dir, 'config'));
  await writeFile(path.join(dir, 'config/tidegate.yml'), JSON.stringify({ upstream: { storage } }));
  t.after(() => rm(dir, { recursive: true }));
  return {
    dir,
    storage,
    own: path.join(storage, 'tidegate-clean'),
    socket: path.join(dir, 'var/clean/clean.sock'),
  };
}

async function open(t: TestContext, { dir }: Place): Promise<Cleaner> {
  const cleaner = await startCleaner([], dir);
  t.after(() => cleaner.stop());
  return cleaner;
}

async function join(t: TestContext, socket: string): Promise<Socket> {
  const connected = connect(socket);
  t.after(() => connected.destroy());
  connected.on('error', () => {});
  await once(connected, 'connect');
  return connected;
}

/** Sends one line; resolves with all that is answered until the end. */
async function say(t: TestContext, socket: string, line: object): Promise<string> {
  const connected = await join(t, socket);
  let heard = '';
  connected.on('data', (bytes: Buffer) => (heard += bytes.toString()));
  connected.write(`${JSON.stringify(line)}\n`);
  await once(connected, 'close');
  return heard;
}

describe("a stranger at the cleaner's socket", { timeout: 240_000, concurrency: 2 }, () => {
  test('who sends a line without an end during a run is cut off, and the run goes on', async (t) => {
    const { dir } = await makePlace(t);
    const socket = path.join(dir, 'clean.sock');
    let end = (): void => {};
    const run = new Promise<string>((resolve) => (end = () => resolve('done\n')));
    const work = {
      plan: () => Promise.resolve({ pieces: [''], goes: false }),
      run: () => run,
      undo: () => run,
      purge: () => run,
      purgeExpired: () => Promise.resolve(),
      findWait: () => Promise.resolve(null),
      pausesWrites: false,
      removeTag: () => run,
      status: () => Promise.resolve('status\n'),
      ended: () => Promise.resolve(),
    };
    const logger = pino({ level: 'silent' });
    const record = { read: () => Promise.resolve(null), note: () => Promise.resolve() };
    const cleaner = await openCleaner({ socket, acceptDoor: () => {}, record, schedule: null, logger, work });
    t.after(() => {
      end();
      return cleaner.close();
    });
    const client = await join(t, socket);
    const closed = new Promise((resolve) => client.once('close', resolve));
    client.write('{"command":"run"}\n');
    let sent = 0;
    const flood = () => {
      while (!client.destroyed && sent < 64 * 2 ** 20) {
        sent += 65_536;
        if (!client.write(Buffer.alloc(65_536, 'x'))) return;
      }
    };
    client.on('drain', flood);
    flood();
    await closed;
    assert.ok(sent < 2 ** 21, `it took ${sent} bytes`);
    assert.match(await say(t, socket, { command: 'status', json: false }), /status/);
  });

  test('a name that leads out of a repository is no command', async (t) => {
    const place = await makePlace(t);
    await open(t, place);
    for (const [repository, tag] of [
      ['../../../../..', 'x'],
      ['team/app', '../../../other/_manifests/tags/v1'],
      ['team//app', 'v1'],
      ['team/app', '..'],
    ])
      assert.match(
        await say(t, place.socket, { command: 'remove-tag', repository, tag }),
        /does not know this command/,
      );
    for (const run of ['..', '__proto__', '20260101-000000-abcd/..'])
      assert.match(await say(t, place.socket, { command: 'undo', run }), /does not know this command/);
  });

  test('a front door that says less than it was asked is not relied on', async (t) => {
    const { dir } = await makePlace(t);
    const opened = await openDoors({
      file: path.join(dir, 'doors.json'),
      version: '1',
      graceMs: () => 1000,
      readTaken: () => Promise.resolve([]),
      logger: { info: () => {}, warn: () => {} },
      now: () => Date.now(),
    });
    const { doors } = opened;
    const server = createServer((connected) => opened.accept(connected));
    const socket = path.join(dir, 'doors.sock');
    await listenOn(server, socket);
    t.after(async () => {
      await opened.close();
      server.close();
    });
    // A reason that is too long to be told is cut.
    doors.publishStatus({
      running: false,
      lastRun: {
        ...{ endedAt: 1, result: 'failed', why: 'x'.repeat(5000) },
        ...{ tags: 0, manifests: 0, blobs: 0, bytes: 0 },
      },
      ...{ quarantinedBytes: 0, freeBytes: null, failures: 1 },
    });
    let told = '';
    const door = await join(t, socket);
    const hello = {
      kind: 'hello',
      door: { id: 'a', pid: 1, host: 'h', version: '1' },
      serves: true,
    };
    let evidence: object = {};
    let isWelcome = false;
    door.on('data', (bytes: Buffer) => {
      for (const line of bytes.toString().split('\n').filter(Boolean)) {
        const { kind, number } = JSON.parse(line) as { kind: string; number?: number };
        if (kind === 'status') told = line;
        if (kind === 'welcome') isWelcome = true;
        if (number !== undefined)
          door.write(
            `${JSON.stringify({ kind: 'answer', number, value: kind === 'evidence' ? evidence : null })}\n`,
          );
      }
    });
    door.write(`${JSON.stringify({ ...hello, graceMs: 1000 })}\n`);
    await until('it is welcome', () => isWelcome);
    assert.equal(/x+/.exec(told)?.[0].length, 2000);
    const digest = `sha256:${'a'.repeat(64)}`;
    const whole = {
      epoch: '',
      held: false,
      leasesSince: 0,
      leases: [5],
      writes: [],
      digestWrites: [1],
      redis: null,
    };
    for (const wrong of [
      { ...whole, leases: [] },
      { ...whole, leases: [null] },
      { ...whole, digestWrites: [] },
      {},
    ]) {
      evidence = wrong;
      await assert.rejects(doors.evidence({ digests: [digest] }), {
        name: 'DoorsError',
        message: /did not tell all/,
      });
    }
    evidence = whole;
    assert.deepEqual((await doors.evidence({ digests: [digest] })).leases, [5]);
    // Nor does one with a grace of ages keep a run off for ages.
    const other = await join(t, socket);
    other.resume().write(`${JSON.stringify({ ...hello, graceMs: 1e300 })}\n`);
    await once(other, 'close');
  });

  test('only so many front doors are remembered', async (t) => {
    const { dir } = await makePlace(t);
    const door = (id: number) => ({
      id: String(id),
      pid: 1,
      host: 'h',
      graceMs: 1e6,
      heardAt: 0,
      leftAt: null,
    });
    const file = path.join(dir, 'doors.json');
    await writeFile(file, JSON.stringify(Array.from({ length: 1000 }, (_, id) => door(id))));
    const known = await openKnownDoors(file, () => 0);
    await known.note(door(5));
    await assert.rejects(known.note(door(1000)), /more than 1000/);
    assert.equal(known.list().length, 1000);
  });

  test('a folder of the socket that everyone may write to is not trusted', async (t) => {
    const { dir } = await makePlace(t);
    const server = createServer((connected) => connected.destroy());
    await listenOn(server, path.join(dir, 'x.sock'));
    t.after(() => server.close());
    for (const mode of [0o777, 0o1777, 0o702]) {
      await chmod(dir, mode);
      await assert.rejects(
        connectTo(path.join(dir, 'x.sock')),
        /everyone may write to its folder .*: chmod o-w /,
      );
    }
    await chmod(dir, 0o770);
    (await connectTo(path.join(dir, 'x.sock')))?.destroy();
  });
});

describe('hostile files in the storage', { timeout: 360_000, concurrency: 2 }, () => {
  for (const name of ['', 'runs', 'purging'])
    test(`tidegate-clean/${name} that leads elsewhere is refused, and nothing there is deleted`, async (t) => {
      const { dir, own } = await makePlace(t);
      const precious = path.join(dir, 'elsewhere/20260101-000000-abcd');
      await mkdir(precious, { recursive: true });
      await mkdir(path.join(dir, 'elsewhere/runs'));
      await mkdir(path.join(dir, 'elsewhere/purging'));
      await mkdir(path.dirname(path.join(own, name)), { recursive: true });
      await symlink(path.join(dir, 'elsewhere'), path.join(own, name));
      const { code, stderr } = await cleanCommand(['clean', 'serve'], dir);
      assert.equal(code, 1);
      assert.match(stderr, /tidegate-clean\S* is not a folder but a file or a symbolic link/);
      assert.ok(existsSync(precious));
    });

  const isApart = existsSync('/dev/shm') && statSync('/dev/shm').dev !== statSync(tmpdir()).dev;
  for (const name of ['blobs', 'repositories'])
    test(
      `${name} on another file system are refused: a run would take half of what goes`,
      { skip: isApart ? false : 'needs two file systems' },
      async (t) => {
        const { dir, storage } = await makePlace(t);
        const apart = await mkdtemp('/dev/shm/tidegate-clean-');
        t.after(() => rm(apart, { recursive: true }));
        await rm(path.join(storage, 'docker/registry/v2', name), { recursive: true, force: true });
        await symlink(apart, path.join(storage, 'docker/registry/v2', name));
        const { code, stderr } = await cleanCommand(['clean', 'serve'], dir);
        assert.equal(code, 1);
        assert.match(stderr, new RegExp(`is on another file system than \\S+/v2/${name}: .*clean.collector`));
      },
    );

  for (const name of [
    'doors.json',
    'restored.json',
    'last-run.json',
    'runs/20260101-000000-abcd/journal.jsonl',
    'purged/20260101-000000-abcd.json',
  ])
    test(`a FIFO in the place of ${name} holds nobody up`, async (t) => {
      const place = await makePlace(t);
      const file = path.join(place.own, name);
      await mkdir(path.dirname(file), { recursive: true });
      execFileSync('mkfifo', [file]);
      if (name === 'doors.json') {
        const { code, stderr } = await cleanCommand(['clean', 'serve'], place.dir);
        assert.deepEqual([code, stderr.includes('is not a regular file')], [1, true]);
        return;
      }
      await open(t, place);
      const { code, stdout, stderr } = await cleanCommand(['clean', 'status'], place.dir);
      if (code === 0) assert.match(stdout, /^Looks after /);
      else assert.match(stderr, /is not a regular file/);
    });

  test('the list of what was taken leads nowhere else', async (t) => {
    const { dir, storage, own } = await makePlace(t);
    const folder = await openCleanFolder(storage, disk);
    await writeFile(path.join(dir, 'precious'), 'mine');
    await symlink(path.join(dir, 'precious'), path.join(own, 'taken'));
    await assert.rejects(addTakenDigests(folder, [`sha256:${'a'.repeat(64)}`]), { code: 'ELOOP' });
    assert.equal(await readFile(path.join(dir, 'precious'), 'utf8'), 'mine');
    await rm(path.join(own, 'taken'));
    execFileSync('mkfifo', [path.join(own, 'taken')]);
    await assert.rejects(addTakenDigests(folder, [`sha256:${'a'.repeat(64)}`]), { code: 'ENXIO' });
  });

  test('what lies among the runs and is none is passed over', async (t) => {
    const place = await makePlace(t);
    for (const name of ['__proto__', 'constructor', 'a\u001b[2Jb'])
      await mkdir(path.join(place.own, 'runs', name), { recursive: true });
    await symlink('/', path.join(place.own, 'runs/20260101-000000-abcd'));
    await open(t, place);
    const { code, stdout } = await cleanCommand(['clean', 'status', '--json'], place.dir);
    assert.equal(code, 0);
    assert.deepEqual((JSON.parse(stdout) as { runs: unknown }).runs, []);
  });

  test('a journal that somebody wrote moves nothing in from elsewhere, and a long line costs nothing', async (t) => {
    const { dir, storage, own } = await makePlace(t);
    const folder = await openCleanFolder(storage, disk);
    const run = '20260101-000000-abcd';
    const digest = `sha256:${'a'.repeat(64)}`;
    const items = [
      { what: 'tag', repository: '../../../../../elsewhere', tag: 'v1', digest },
      { what: 'tag', repository: 'app', tag: '../../../../../../../elsewhere', digest },
      { what: 'data', digest: 'sha256:../../../elsewhere', bytes: 1 },
      {
        what: 'layer',
        repository: 'app',
        digest,
        files: [{ path: '../elsewhere/link', content: digest, mode: 0o644, mtimeMs: 0 }],
      },
    ];
    await mkdir(path.join(own, 'runs', run), { recursive: true });
    await mkdir(path.join(storage, 'docker/registry/v2/blobs/sha256/aa', 'a'.repeat(64)), {
      recursive: true,
    });
    await writeFile(path.join(storage, 'docker/registry/v2/blobs/sha256/aa', 'a'.repeat(64), 'data'), '');
    const lines = [
      { kind: 'begin', run, at: 0, version: 'x' },
      ...items.map((item, number) => ({ kind: 'intent', number, item })),
      ...items.map((_, number) => ({ kind: 'outcome', number, outcome: 'taken' })),
      { kind: 'undo', at: 0, padding: 'x'.repeat(3 * 2 ** 20) },
    ];
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    await writeFile(path.join(own, 'runs', run, 'journal.jsonl'), text);
    const [record] = await readRuns(folder);
    assert.equal(record?.state, 'half-done');
    const { restored, impossible, impossibleCount } = await undoRun({
      ...{ folder, run, keepMs: 1000, graceMs: 0, nowMs: Date.now, signal: new AbortController().signal },
      locked: (_, work) => work(),
      onProgress: () => {},
    });
    assert.deepEqual(restored, { tags: 0, manifests: 0, layers: 0, blobs: 0, bytes: 0 });
    assert.equal(impossibleCount, 1);
    assert.match(impossible[0]?.why ?? '', /is not a place of its links/);
    assert.equal(existsSync(path.join(dir, 'elsewhere')), false);
  });
});
