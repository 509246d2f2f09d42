import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import { askCleaner } from '../../dist/clean/server/clean-client.js';
import { linksEach, makeLargeStorage } from '../large-storage.mjs';
import { accepts, startServer } from '../processes.mjs';
import { atLeast, atMost } from '../report.mjs';
import { openRig } from '../rig.mjs';
import { median, medianRatio, spread, takeTurns } from '../statistics.mjs';

const repositories = 40;
const clientsEach = 2;
/** As in deploy/systemd. */
const niceness = 5;
const imageType = 'application/vnd.oci.image.manifest.v1+json';
/** How long what a round has left is cleaned up, outside of what is measured, in milliseconds. */
const restMs = 60_000;
/** How often a push sends its blobs again. */
const maxTries = 10;
const kinds = { manifests: 'manifest pulls/s', blobs: 'blob pulls/s', pushes: 'pushes/s' };

/**
 * Measures what pulls and pushes cost while run follows run, and without, in turns. Pushes give each run something to take.
 * Each measurement has a repository of its own, so that none begins with what another has left.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureCleanRunning(rig, { quick, rounds }) {
  const dir = path.join(rig.dir, 'clean-running');
  fs.mkdirSync(dir);
  // A run may take what other scenarios have pushed.
  const own = await openRig(dir);
  const stops = [];
  try {
    const { storage } = await own.registry();
    makeLargeStorage(storage, repositories);
    const socket = path.join(dir, 'clean.sock');
    const rules = [{ repositories: ['ci/**'], tags: ['*'], keep: { newest: 5 } }];
    const set = {
      ...{ 'clean.socket': socket, 'clean.grace': '0s', 'clean.untagged': '0s' },
      'clean.rules': JSON.stringify(rules),
    };
    const { command, env, port, log } = await own.place('clean', 'tidegate-storage', { set });
    const door = await startServer({ name: 'Tidegate', command, env, log, isReady: () => accepts(port) });
    stops.push(door.stop);
    const [program, script, , ...options] = command;
    const cleanerLog = path.join(dir, 'cleaner.log');
    const cleaner = await startServer({
      name: 'the cleaner',
      command: [program, script, 'clean', 'serve', ...options],
      env,
      log: cleanerLog,
      isReady: () => Promise.resolve(fs.existsSync(socket)),
    });
    stops.push(cleaner.stop);
    os.setPriority(cleaner.pid, niceness);
    const client = createClient(own, port);
    stops.push(async () => client.close());
    await client.prepare();
    await clean(socket, AbortSignal.timeout(restMs));
    const seconds = quick ? 4 : 10;
    const subjects = [
      { key: 'without', name: 'no run' },
      { key: 'with', name: 'a run after the other' },
    ];
    const results = await takeTurns(subjects, rounds, async ({ key }, round) => {
      if (key === 'without')
        return measure(client, { seconds, socket: null, repository: `kept/app-${round}` });
      const logged = fs.statSync(cleanerLog).size;
      const result = await measure(client, { seconds, socket, repository: `ci/app-${round}` });
      const ended = readRuns(cleanerLog, logged);
      await clean(socket, AbortSignal.timeout(restMs));
      return { ...result, ...ended };
    });
    const of = (key, read) => results.get(key).map(read);
    const ratio = (kind) =>
      medianRatio(
        of('with', (result) => result.rates[kind]),
        of('without', (result) => result.rates[kind]),
      );
    return {
      title: 'Clean-up: its cost for pulls and pushes',
      tables: [
        {
          head: [
            '',
            ...Object.values(kinds),
            'longest request, ms',
            'longest hold, ms',
            'things taken/s',
            'runs',
          ],
          rows: [
            ...subjects.map(({ key, name }) => [
              name,
              ...Object.keys(kinds).map((kind) => spread(of(key, ({ rates }) => rates[kind]))),
              spread(of(key, ({ longestMs }) => longestMs)),
              key === 'with' ? spread(of(key, ({ longestHoldMs }) => longestHoldMs)) : '',
              key === 'with' ? spread(of(key, ({ taken }) => taken / seconds)) : '',
              key === 'with' ? String(median(of(key, ({ runs }) => runs))) : '',
            ]),
            ['ratio', ...Object.keys(kinds).map((kind) => ratio(kind).toFixed(3)), '', '', '', ''],
          ],
        },
      ],
      notes: [
        `On a storage with ${repositories * linksEach} links, ${clientsEach} clients of each kind, each with one connection and without a break, for ${seconds} s. The pushes go to one repository, of which a run retires all but the newest five tags; a hold is the time for which a run lets no request into it. Without runs they go to one that no rule is about. What a measurement leaves is cleaned up after it, and not measured. The cleaner has the priority (${niceness}) that its unit gives it.`,
      ],
      targets: [
        ...Object.keys(kinds).map((kind) =>
          atLeast(`clean-up: ${kinds[kind]} with runs × without`, ratio(kind), 0.95),
        ),
        atMost(
          'clean-up: longest hold',
          Math.max(...of('with', ({ longestHoldMs }) => longestHoldMs)),
          50,
          ' ms',
        ),
      ],
      raw: Object.fromEntries(results),
    };
  } finally {
    for (const stop of stops.reverse()) await stop();
    await own.stop();
  }
}

/** @param {{ seconds: number, socket: string | null, repository: string }} options socket: of the cleaner; null: no run */
async function measure(client, { seconds, socket, repository }) {
  const over = AbortSignal.timeout(seconds * 1000);
  const counts = { manifests: 0, blobs: 0, pushes: 0 };
  client.takeLongest();
  const load = async (kind) => {
    while (!over.aborted) {
      await client[kind](repository);
      if (!over.aborted) counts[kind] += 1;
    }
  };
  const cleaning = async () => {
    while (socket !== null && !over.aborted) await clean(socket, over);
  };
  const loads = Object.keys(counts).flatMap((kind) => Array.from({ length: clientsEach }, () => load(kind)));
  await Promise.all([...loads, cleaning()]);
  const rates = Object.fromEntries(Object.entries(counts).map(([kind, count]) => [kind, count / seconds]));
  return { rates, longestMs: client.takeLongest() };
}

/** Runs once. @param over tells the run to end at its next safe point */
async function clean(socket, over) {
  const onBegin = (stop) => over.addEventListener('abort', stop, { once: true });
  const end = await askCleaner(socket, { command: 'run' }, { onText: () => {}, onBegin });
  if (end === null) throw new Error('the cleaner is gone');
}

/** What the cleaner's log says of its runs from this byte on. */
function readRuns(log, start) {
  const lines = fs.readFileSync(log).subarray(start).toString().split('\n').slice(0, -1);
  const ended = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'run ended');
  const sum = (of) => ended.reduce((total, line) => total + of(line), 0);
  return {
    runs: ended.length,
    taken: sum(({ tags, manifests, layers, blobs }) => tags + manifests + layers + blobs),
    longestHoldMs: Math.max(0, ...ended.map(({ longestHoldMs }) => longestHoldMs)),
  };
}

function createClient({ ca, credentials }, port) {
  const agent = new https.Agent({ keepAlive: true, ca, maxSockets: 3 * clientsEach });
  let longestMs = 0;
  const ask = async (method, target, expected, body = '', type = 'application/octet-stream') => {
    const headers = {
      ...{ Authorization: credentials.authorization, Accept: imageType },
      ...(method === 'GET' ? {} : { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) }),
    };
    const startedMs = performance.now();
    const request = https.request({ agent, host: 'localhost', port, method, path: target, headers });
    request.end(body);
    const [response] = await once(request, 'response');
    response.resume();
    await once(response, 'end');
    longestMs = Math.max(longestMs, performance.now() - startedMs);
    const { statusCode, headers: answered } = response;
    if (!expected.includes(statusCode)) throw new Error(`${method} ${target} was answered ${statusCode}`);
    return { status: statusCode, location: answered.location };
  };
  const upload = async (repository, bytes) => {
    const { location } = await ask('POST', `/v2/${repository}/blobs/uploads/`, [202]);
    const { pathname, search } = new URL(location, 'https://localhost');
    await ask('PUT', `${pathname}${search}&digest=${digestOf(bytes)}`, [201], bytes);
  };
  const describe = (bytes, mediaType) => ({ mediaType, size: bytes.length, digest: digestOf(bytes) });
  const config = Buffer.from('{}');
  /** Sends its blobs again if a run has taken one before its manifest came. */
  const push = async (repository, tag, layer) => {
    const manifest = {
      schemaVersion: 2,
      mediaType: imageType,
      config: describe(config, 'application/vnd.oci.image.config.v1+json'),
      layers: [describe(layer, 'application/vnd.oci.image.layer.v1.tar+gzip')],
    };
    const body = JSON.stringify(manifest);
    for (let tries = 0; tries < maxTries; tries += 1) {
      await upload(repository, config);
      await upload(repository, layer);
      const { status } = await ask('PUT', `/v2/${repository}/manifests/${tag}`, [201, 400], body, imageType);
      if (status === 201) return;
    }
    throw new Error(`${maxTries} runs took the blobs of one push`);
  };
  const pulled = randomBytes(64 * 1024);
  let pushes = 0;
  return {
    prepare: async () => {
      await push('app', 'kept', pulled);
    },
    manifests: () => ask('GET', '/v2/app/manifests/kept', [200]),
    blobs: () => ask('GET', `/v2/app/blobs/${digestOf(pulled)}`, [200]),
    pushes: (repository) => push(repository, `b${(pushes += 1)}`, randomBytes(256)),
    /** The longest time that one request has taken since it was asked for, in milliseconds. */
    takeLongest: () => {
      const longest = longestMs;
      longestMs = 0;
      return longest;
    },
    close: () => agent.destroy(),
  };
}

const digestOf = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
