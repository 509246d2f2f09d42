import fs from 'node:fs';
import path from 'node:path';
import https from 'node:https';
import { createCredentials } from '../credentials.mjs';
import { askForManifest, loadManifest } from '../manifest-load.mjs';
import { memoryMiB } from '../process-tree.mjs';
import { describeRounds, digits, median, takeTurns } from '../statistics.mjs';
import { renderPlots } from '../svg-plot.mjs';
import { clientHeaders, startWrk } from '../wrk.mjs';

/** The names in the legend and in front-doors.mjs. */
const doors = [
  { key: 'tidegate', name: 'Tidegate' },
  { key: 'nginx-plain', name: 'nginx, plain text' },
  { key: 'caddy', name: 'Caddy' },
];
const connectionCounts = [10, 100, 1_000, 5_000];
const otherCounts = [1, 100, 10_000];
const fewConnections = 32;
const warmersAtOnce = 16;
const mostRounds = 3;
/** How many answers per connection show that all connections are open. */
const answersEach = 4;
/** The first requests of each connection, which come slowly: Node takes in one connection each time that all others have been served. */
const slowRequestsEach = 2;
/** The requests per second while the connections are opened. */
const slowRequestsPerSecond = 2000;
const wrkThreads = 2;
const longestHandshakesMs = 100_000;
const pollMs = 250;

/**
 * Measures requests per second and memory as connections, users and repositories grow.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureGrowth(rig, { quick, rounds }) {
  const seconds = quick ? 2 : 5;
  const usedRounds = quick ? 1 : Math.min(rounds, mostRounds);
  const manifest = await rig.image();
  const context = { rig, manifest, seconds };
  const series = [
    {
      file: 'connections.svg',
      what: 'open connections',
      found: await measureSeries('connections', connectionCounts, usedRounds, (door, count) =>
        measureConnections(context, door, count),
      ),
    },
    {
      file: 'users.svg',
      what: 'users',
      found: await measureSeries('users', otherCounts, usedRounds, (door, count) =>
        measureUsers(context, door, count),
      ),
    },
    {
      file: 'repositories.svg',
      what: 'repositories',
      found: await measureSeries('repositories', otherCounts, usedRounds, (door, count) =>
        measureRepositories(context, door, count),
      ),
    },
  ];
  return {
    title: 'How cost grows',
    tables: series.map(({ what, found }) => ({
      head: ['Front door', ...found[0].points.map(({ count }) => `${count.toLocaleString('en')} ${what}`)],
      rows: found.map(({ name, points }) => [
        name,
        ...points.map(({ rate, rss, failed }) =>
          [`${digits(rate)}/s`, `${digits(rss)} MiB`, ...(failed > 0 ? [`${failed} failed`] : [])].join(', '),
        ),
      ]),
    })),
    notes: [
      `Manifest GETs by digest with name and password; RSS of all processes under this load. ${describeRounds(usedRounds)} nginx has plain-text passwords and \`proxy_cache\`.`,
      `Connections: the rate is counted in the log, once each connection has had some answers; wrk begins all of them at once, and Tidegate's \`limits.handshakeTimeout\` is raised to 60 s for that, which is nginx's, and \`limits.connectionsPerAddress\` with it, since all come from one. Requests that were not answered 200 are counted as failed, over the whole time, and not in the rate. Users: they take turns over 32 connections, each with a password of bcrypt cost 4 that has been used once before. Repositories: one manifest in each, asked for in turns; what is cached is forgotten after 10 s by both, so that of very many some are always asked for again.`,
    ],
    targets: [],
    plots: series.map(({ file, what, found }) => ({
      ...{ file, title: `Requests per second and memory by ${what}`, svg: plotOf(what, found) },
    })),
    raw: Object.fromEntries(series.map(({ what, found }) => [what, found])),
  };
}

async function measureSeries(title, counts, rounds, measureOne) {
  const found = doors.map(({ key, name }) => ({ key, name, points: [] }));
  for (const count of counts) {
    console.log(`  ${count} ${title}`);
    const results = await takeTurns(doors, rounds, ({ key }) => measureOne(key, count));
    for (const { key, points } of found) {
      const of = (what) => results.get(key).map((each) => each[what]);
      const failed = Math.max(...of('failed'));
      points.push({ count, rate: median(of('rate')), rss: median(of('rss')), failed, hits: of('hits') });
    }
  }
  return found;
}

function plotOf(what, found) {
  const panel = (title, yLabel, kind) => ({
    ...{ title, yLabel, xLabel: what },
    series: found.map(({ name, points }) => ({
      name,
      points: points.map((point) => [point.count, point[kind]]),
    })),
  });
  return renderPlots([
    panel('Manifest GETs', 'requests per second', 'rate'),
    panel('Memory', 'RSS of all processes, MiB', 'rss'),
  ]);
}

/** Counts the answers of some seconds in the log, once each connection has had several. */
async function measureConnections({ rig, manifest, seconds }, door, connections) {
  const patience = { 'limits.handshakeTimeout': '60s', 'limits.connectionsPerAddress': '10000' };
  const set = door === 'tidegate' ? patience : {};
  const subject = await rig.start(door, { as: `${door}-patient`, set });
  await subject.restart();
  const options = { target: manifest.paths.digest, ...loadOptions(rig, rig.credentials, manifest) };
  await askForManifest(subject, options); // its login is known from now on
  subject.takeLog();
  const pauseMs = Math.ceil((connections / slowRequestsPerSecond) * 1000);
  const slowRequests = (slowRequestsEach * connections) / wrkThreads;
  const load = startWrk(subject, {
    ...{ ...options, connections },
    mode: ['ramp', String(slowRequests), String(pauseMs)],
  });
  const { result, rss } = await watchingMemory(subject, async () => {
    const untilMs = performance.now() + longestHandshakesMs;
    let answered = 0;
    while (answered < answersEach * connections) {
      if (performance.now() > untilMs) {
        throw new Error(`${subject.name} gave ${answered} answers to ${connections} connections`);
      }
      await pause(pollMs);
      answered += subject.takeLog().answered;
    }
    subject.takeLog();
    const startedAtMs = performance.now();
    await pause(seconds * 1000);
    const { answered: counted, hits } = subject.takeLog();
    return { rate: counted / ((performance.now() - startedAtMs) / 1000), hits };
  });
  const { failed, refused } = await load.stop();
  await askForManifest(subject, options);
  return { ...result, rss, failed: failed + refused };
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function measureUsers({ rig, manifest, seconds }, door, count) {
  const as = `${door}-${count}-users`;
  const dir = path.join(rig.dir, `${count}-users`);
  usersMade[count] ??= createCredentials(dir, { count, bcryptCost: 4 });
  const credentials = await usersMade[count];
  const subject = await rig.start(door, { as, credentials });
  await subject.restart();
  const target = manifest.paths.digest;
  const requests = credentials.authorizations.map((authorization) => ({ target, authorization }));
  const result = await loadRotating({ rig, manifest, seconds }, subject, requests, credentials);
  await subject.stop(); // until the next round
  return result;
}

const usersMade = {};

async function measureRepositories({ rig, manifest, seconds }, door, count) {
  const { storage } = await rig.registry();
  const subject = await rig.start(door);
  await subject.restart();
  const { authorization } = rig.credentials;
  const requests = Array.from({ length: count }, (_, i) => ({
    target: `/v2/${addRepository(storage, i, manifest.digest)}/manifests/${manifest.digest}`,
    authorization,
  }));
  return loadRotating({ rig, manifest, seconds }, subject, requests, rig.credentials);
}

/** Writes the registry's files for a pushed manifest whose bytes it already has. */
function addRepository(storage, number, digest) {
  const name = `bench/r${number}`;
  const dir = path.join(
    storage,
    'docker/registry/v2/repositories',
    `${name}/_manifests/revisions/sha256/${digest.slice('sha256:'.length)}`,
  );
  if (!fs.existsSync(dir)) {
    fs.mkdirSync(dir, { recursive: true });
    fs.writeFileSync(path.join(dir, 'link'), digest);
  }
  return name;
}

async function loadRotating({ rig, manifest, seconds }, subject, requests, credentials) {
  const list = path.join(rig.dir, 'requests');
  fs.writeFileSync(list, requests.map((each) => `${each.target}\n${each.authorization}\n`).join(''));
  await askEachOnce(rig, subject, requests);
  subject.takeLog();
  const { result, rss } = await watchingMemory(subject, () =>
    loadManifest(subject, {
      ...{ target: requests[0].target, connections: fewConnections, seconds },
      ...{ mode: ['rotate', list], ...loadOptions(rig, credentials, manifest) },
    }),
  );
  const rate = result.requests / (result.microseconds / 1e6);
  return { rate, rss, failed: result.failed, hits: subject.takeLog().hits };
}

function loadOptions({ ca }, { authorization }, manifest) {
  return { authorization, ca, manifest };
}

async function askEachOnce({ ca }, subject, requests) {
  const agent = new https.Agent({ keepAlive: true, maxSockets: warmersAtOnce, ca });
  let next = 0;
  const askOn = async () => {
    while (next < requests.length) {
      const { target, authorization } = requests[next];
      next += 1;
      const status = await new Promise((resolve, reject) => {
        const headers = { ...clientHeaders, Authorization: authorization };
        const where = { host: 'localhost', family: 4, port: subject.port, path: target };
        https
          .get({ ...where, headers, agent }, (response) => {
            response.resume().once('end', () => resolve(response.statusCode));
          })
          .once('error', reject);
      });
      if (status !== 200) throw new Error(`${subject.name} answered ${status} to ${target}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: warmersAtOnce }, askOn));
  } finally {
    agent.destroy();
  }
}

/** Does the work, and also returns the peak memory. */
async function watchingMemory(subject, work) {
  let rss = 0;
  const timer = setInterval(() => (rss = Math.max(rss, memoryMiB(subject.pid).rss)), 250);
  try {
    return { result: await work(), rss };
  } finally {
    clearInterval(timer);
  }
}
