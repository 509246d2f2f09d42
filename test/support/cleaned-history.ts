import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { cleanFolderName } from '../../src/clean/quarantine/clean-folder.ts';
import { disk } from '../../src/clean/quarantine/disk.ts';
import { readRuns } from '../../src/clean/quarantine/run-record.ts';
import { askCleaner } from '../../src/clean/server/clean-client.ts';
import { OperatorError } from '../../src/system/operator-error.ts';
import { createCacheClient, type CacheClient } from './cache-client.ts';
import { createHistory, newest, retiringRepositories } from './clean-history.ts';
import { startCleaner, type Cleaner } from './cleaner.ts';
import { startFrontDoor, type FrontDoor } from './front-door.ts';
import { stop } from './processes.ts';
import { createRandom } from './random.ts';
import { startRedis, until } from './redis.ts';
import { startRegistry, type Registry } from './registry.ts';

/*
 * The real programs: a registry that is cleaned again and again while it is used. The long form:
 * PUSHES=100000 LIMIT_MS=… SEED=… (test/README.md).
 */
const pushes = Number(process.env['PUSHES'] ?? '150');
const limitMs = Number(process.env['LIMIT_MS'] ?? '10000');
/** The long form says so often, at once, how far it is. */
const tellMs = 30_000;
/** Pushes become slower where so many come and no run has taken anything, which it cannot while the machine is too busy. */
const pushesUntaken = 1500;
/** How long one rests between two pushes: then, and when only a first run is waited for. */
const [someRestMs, maxRestMs] = [400, 2000];
const maxLastRuns = 5;
const maxFailures = 60;
/** Of the first lock of a run, on a machine that is too busy. */
const noLock = 'No lock was had';
const nothingToTake = 'There was nothing to take.';
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

export type Mode = {
  readonly remembersBlobs: boolean;
  /** More than one share a Redis. */
  readonly frontDoors?: number;
  /** What is done again and again meanwhile; requests and runs may fail by it. */
  readonly trouble?: (programs: Programs, signal: AbortSignal) => Promise<void>;
};

export type Programs = {
  readonly registry: Registry;
  /** Those that serve now. */
  readonly frontDoors: FrontDoor[];
  /** Of each front door two. */
  readonly clients: CacheClient[];
  cleaner: Cleaner;
  /** How many runs ended well. */
  runs: number;
  /** How many things runs took, also those that go on, by {@link tally}. */
  readonly taken: { tag: number; manifest: number; layer: number; data: number };
  /** Where the cleaner and its commands run; `tidegate.yml` is there. */
  readonly dir: string;
  readonly random: () => number;
  startFrontDoor(): Promise<void>;
  /** Ends the one that has served longest; nobody asks it any more. */
  endFrontDoor(signal: 'SIGINT' | 'SIGKILL'): Promise<void>;
  startCleaner(): Promise<void>;
};

/** Lets clients use a registry while it is cleaned, until there were enough pushes or the time is over; then checks everything. */
export async function tryCleanedHistory(t: TestContext, mode: Mode): Promise<void> {
  const beganMs = performance.now();
  const tell = (what: string) => {
    const line = `${((performance.now() - beganMs) / 1000).toFixed(1)} s: ${what}`;
    t.diagnostic(line);
    if (limitMs > tellMs) process.stderr.write(`${line}\n`); // the runner shows a diagnostic when the test has ended
  };
  const programs = await startPrograms(t, mode);
  const { registry, clients } = programs;
  const history = createHistory({ clients, seed, mayBreak: mode.trouble !== undefined });
  tell(`SEED=${seed}, ${pushes} pushes or ${limitMs / 1000} s`);

  const written = new AbortController();
  const cleaning = cleanUntil(programs, mode, { signal: written.signal, tell });
  let hasFailed = false;
  cleaning.catch(() => (hasFailed = true));
  let troubles = 0;
  const troubling = (async () => {
    for (; mode.trouble && !written.signal.aborted; troubles += 1)
      await mode.trouble(programs, written.signal);
  })();
  const untilMs = performance.now() + limitMs;
  const describe = () =>
    `${JSON.stringify(history.counts)}, ${programs.runs} runs took ${JSON.stringify(programs.taken)}`;
  let tellAtMs = performance.now() + tellMs;
  let last = { taken: 0, pushes: 0 };
  const isEnough = async () => {
    if (hasFailed || history.losses.length > 0) return true;
    if (performance.now() > tellAtMs) {
      tellAtMs += tellMs;
      tell(`so far: ${describe()}`);
    }
    tally(programs);
    const taken = programs.taken.tag + programs.taken.manifest;
    if (taken !== last.taken) last = { taken, pushes: history.counts.pushes };
    const isOver = performance.now() > untilMs;
    // On a slow machine there is always something under way, and no lock is had: nothing is tried unless a run takes something.
    if (isOver) history.ease(maxRestMs);
    else if (history.counts.pushes - last.pushes > pushesUntaken) history.ease(someRestMs);
    else history.hurry();
    if (!isOver && history.counts.pushes < pushes) return false;
    return (await hasTaken(registry)) && (troubles > 0 || !mode.trouble);
  };
  try {
    await history.run({ writers: 5, readers: 2, isEnough });
  } finally {
    written.abort();
  }
  tell(`written: ${describe()}${mode.trouble ? `, ${troubles} times trouble` : ''}`);
  await troubling;
  await cleaning;
  await cleanUp(programs, mode, tell);
  await history.check();
  tell('everything is pulled');
  assert.deepEqual(history.losses, []);
  await checkDisk(registry, await history.reachable());
  tell('the disk holds what it should');
}

async function startPrograms(t: TestContext, mode: Mode): Promise<Programs> {
  const registry = await startRegistry({ remembersBlobs: mode.remembersBlobs });
  t.after(() => registry.stop());
  const { frontDoors: count = 1 } = mode;
  const redis = count > 1 ? await startRedis() : null;
  if (redis !== null) t.after(() => redis.stop());
  const dir = path.join(registry.storageDir, '..');
  const config = `
upstream: { url: ${registry.url}, storage: ${registry.storageDir} }
workers: 2
log: { accessFile: /dev/null, audit: false }
${redis === null ? '' : `cache: { driver: redis, redis: { url: "redis://${redis.address}/0" } }`}
clean:
  grace: 0s
  untagged: 0s
  quarantine: 10s
  socket: ${path.join(dir, 'clean.sock')}
  rules:
    - { repositories: ${JSON.stringify(retiringRepositories)}, tags: ["*"], keep: { newest: ${newest} } }
`;
  await writeFile(path.join(dir, 'tidegate.yml'), config);
  const [frontDoors, clients]: [FrontDoor[], CacheClient[]] = [[], []];
  const startCleanerThere = () => startCleaner(['--config', 'tidegate.yml'], dir);
  const programs: Programs = {
    ...{ registry, frontDoors, clients, dir, random: createRandom(seed) },
    cleaner: await startCleanerThere(),
    runs: 0,
    taken: { tag: 0, manifest: 0, layer: 0, data: 0 },
    startFrontDoor: async () => {
      const frontDoor = await startFrontDoor({ upstreamUrl: null, config, set: ['workers=2'] });
      frontDoors.push(frontDoor);
      clients.push(createCacheClient(frontDoor), createCacheClient(frontDoor));
    },
    endFrontDoor: async (signal) => {
      const frontDoor = frontDoors.shift();
      const unused = clients.splice(0, 2);
      if (frontDoor === undefined) return;
      if (signal === 'SIGKILL') await stop(frontDoor.process, signal);
      await frontDoor.stop();
      for (const client of unused) client.close();
    },
    startCleaner: async () => {
      programs.cleaner = await startCleanerThere();
    },
  };
  t.after(() => programs.cleaner.stop());
  t.after(async () => {
    while (frontDoors.length > 0) await programs.endFrontDoor('SIGINT');
  });
  for (let i = 0; i < count; i += 1) await programs.startFrontDoor();
  return programs;
}

const mayFail = (mode: Mode, output: string) => mode.trouble !== undefined || output.includes(noLock);

type Cleaned = { readonly isDone: boolean; readonly output: string };

/** Cleans again and again; the last run is told to stop. */
async function cleanUntil(
  programs: Programs,
  mode: Mode,
  { signal, tell }: { signal: AbortSignal; tell: (what: string) => void },
): Promise<void> {
  while (!signal.aborted) {
    const { isDone, output } = await clean(programs, signal);
    if (isDone) programs.runs += 1;
    if (!isDone || limitMs < tellMs) tell(summarize(output));
    assert.ok(isDone || mayFail(mode, output), output);
    if (!isDone) await pause(100);
  }
}

/** Cleans when nothing is used any more: what is free is free. After trouble, the cleaner may have to wait for what it misses. */
async function cleanUp(programs: Programs, mode: Mode, tell: (what: string) => void): Promise<void> {
  for (let [runs, failed] = [0, 0]; runs < maxLastRuns; runs += 1) {
    const { isDone, output } = await clean(programs);
    tell(`then ${summarize(output)}`);
    if (output.includes(nothingToTake)) return;
    if (isDone) continue;
    failed += 1;
    assert.ok(mayFail(mode, output) && failed < maxFailures, output);
    runs -= 1;
    await pause(1000);
  }
}

/** Whether a run, also one that goes on, has taken something. */
async function hasTaken({ storageDir }: Registry): Promise<boolean> {
  const runs = await readRuns({ root: storageDir, path: path.join(storageDir, cleanFolderName), disk });
  return runs.some(({ taken }) => taken.tags + taken.manifests > 0);
}

/** Waits until another run has ended well, or the signal comes. */
export async function untilCleaned(programs: Programs, signal: AbortSignal): Promise<void> {
  const before = programs.runs;
  await until('a run has ended', () => signal.aborted || programs.runs > before, 240_000);
}

/** Waits until a run is in the middle of its work, or the signal comes. */
export async function untilInRun({ registry: { storageDir } }: Programs, signal: AbortSignal): Promise<void> {
  const runs = path.join(storageDir, cleanFolderName, 'runs');
  await until(
    'a run has begun to take something',
    async () => {
      if (signal.aborted) return true;
      for (const run of (await readdir(runs)).sort().slice(-1)) {
        const journal = await readFile(path.join(runs, run, 'journal.jsonl'), 'utf8').catch(() => '');
        if (journal.includes('"intent"') && !journal.includes('"kind":"end"')) return true;
      }
      return false;
    },
    240_000,
  );
}

/** What `tidegate clean run` asks for, which ends at its next safe point when the signal comes. */
async function clean({ dir }: Programs, signal?: AbortSignal): Promise<Cleaned> {
  let output = '';
  let stopRun = () => {};
  const onAbort = () => stopRun();
  signal?.addEventListener('abort', onAbort);
  try {
    const end = await askCleaner(
      path.join(dir, 'clean.sock'),
      { command: 'run' },
      {
        onText: (text) => void (output += text),
        onBegin: (ask) => {
          stopRun = ask;
          if (signal?.aborted) ask();
        },
      },
    );
    return end === null ? { isDone: false, output: 'No cleaner is running.' } : { isDone: true, output };
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return { isDone: false, output: `${output}${error.message}` };
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

/** Adds up what runs took, and forgets the log, which has a line for each thing. */
function tally({ cleaner, taken }: Programs): void {
  for (const { msg, what } of cleaner.log.splice(0))
    if (msg === 'taken' && typeof what === 'string') taken[what as keyof typeof taken] += 1;
}

const summarize = (output: string) => output.split('\n').slice(0, 3).join(' | ');

async function checkDisk(registry: Registry, reachable: ReadonlySet<string>): Promise<void> {
  const stored = await readStoredDigests(registry.storageDir);
  const lost = [...reachable].filter((digest) => !stored.has(digest));
  const left = [...stored].filter((digest) => !reachable.has(digest));
  assert.deepEqual({ lost, left }, { lost: [], left: [] });
}

/** The digests of all blobs on the disk of a registry. */
async function readStoredDigests(storageDir: string): Promise<Set<string>> {
  const dir = path.join(storageDir, 'docker/registry/v2/blobs/sha256');
  const found = new Set<string>();
  for (const first of await readdir(dir).catch(() => []))
    for (const hex of await readdir(path.join(dir, first))) {
      const files = await readdir(path.join(dir, first, hex));
      if (files.includes('data')) found.add(`sha256:${hex}`);
    }
  return found;
}
