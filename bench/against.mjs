import path from 'node:path';
import { loadManifest } from './manifest-load.mjs';
import { cpuSeconds, memoryMiB } from './process-tree.mjs';
import { downloadBlob } from './scenarios/downloads.mjs';
import { uploadBlob } from './scenarios/uploads.mjs';
import { digits, middleRange, spread, takeTurns } from './statistics.mjs';

const mib = 1024 ** 2;
/** How many keep-alive connections ask for a manifest at the same time. */
const connections = 32;
/** Not counted, in seconds: afterwards code is compiled and caches are filled. */
const warmUpSeconds = 10;

/**
 * What is compared. `more`: whether more of it is better.
 * @type {readonly { what: string, unit: string, more: boolean }[]}
 */
const figures = [
  ...['memory', 'Redis', 'cache off'].flatMap((cache) => [
    { what: `manifest, ${cache}`, unit: '/s', more: true },
    { what: `manifest, ${cache}: CPU`, unit: 'µs', more: false },
  ]),
  { what: 'manifest, Redis: CPU of Redis', unit: 'µs', more: false },
  ...['1 stream', '4 streams', '4 streams from storage'].flatMap((kind) => [
    { what: `download, ${kind}`, unit: 'MiB/s', more: true },
    { what: `download, ${kind}: CPU`, unit: 's/GiB', more: false },
  ]),
  { what: 'upload', unit: 'MiB/s', more: true },
  { what: 'upload: CPU', unit: 's/GiB', more: false },
  { what: 'RSS after hits', unit: 'MiB', more: false },
];

/**
 * Measures this checkout and another one in turns, and says what became worse.
 * @param {import('./rig.mjs').Rig} rig
 * @param {{ against: string, quick: boolean, rounds: number }} settings
 * @returns {Promise<import('./report.mjs').Section>}
 */
export async function measureAgainst(rig, { against, quick, rounds }) {
  const sides = [];
  for (const [key, checkout] of [
    ['before', against],
    ['now', undefined],
  ])
    sides.push({ key, name: key, doors: await startDoors(rig, key, checkout) });
  const manifest = await rig.image();
  const blob = await rig.blob((quick ? 64 : 256) * mib);
  const measureLoad = async ({ subject, redis }, seconds) => {
    const { ca, credentials } = rig;
    const used = () => [subject.pid, redis?.pid].map((pid) => (pid === undefined ? 0 : cpuSeconds(pid)));
    const before = used();
    const { requests, microseconds } = await loadManifest(subject, {
      ...{ target: manifest.paths.digest, connections, seconds, ca, manifest },
      authorization: credentials.authorization,
    });
    const [own, store] = used().map((each, index) => ((each - before[index]) / requests) * 1e6);
    return { perSecond: requests / (microseconds / 1e6), own, store };
  };
  const loads = ({ doors }) => [doors.memory, doors.redis, doors.off];
  for (const side of sides) for (const door of loads(side)) await measureLoad(door, warmUpSeconds);

  const results = await takeTurns(sides, rounds, async (side) => {
    const { memory, redis, storage } = side.doors;
    const found = {};
    for (const [index, door] of loads(side).entries()) {
      const cache = ['memory', 'Redis', 'cache off'][index];
      const { perSecond, own, store } = await measureLoad(door, quick ? 1 : 4);
      found[`manifest, ${cache}`] = perSecond;
      found[`manifest, ${cache}: CPU`] = own;
      if (door === redis) found['manifest, Redis: CPU of Redis'] = store;
    }
    found['RSS after hits'] = memoryMiB(memory.subject.pid).rss;
    const transfers = {
      'download, 1 stream': await downloadBlob(rig, memory.subject, blob, 1),
      'download, 4 streams': await downloadBlob(rig, memory.subject, blob, 4),
      'download, 4 streams from storage': await downloadBlob(rig, storage.subject, blob, 4),
      upload: await uploadBlob(rig, memory.subject, blob),
    };
    for (const [what, { speed, cpu }] of Object.entries(transfers)) {
      found[what] = speed;
      found[`${what}: CPU`] = cpu;
    }
    return found;
  });
  return describe(results, { against, rounds });
}

async function startDoors(rig, key, checkout) {
  const start = async (door) => {
    const as = `${door}-${key}`;
    const subject = await rig.start(door, { as, checkout });
    return { subject, redis: door === 'tidegate-redis' ? await rig.redis(as) : undefined };
  };
  return {
    memory: await start('tidegate'),
    redis: await start('tidegate-redis'),
    off: await start('tidegate-off'),
    storage: await start('tidegate-storage'),
  };
}

/** @returns {import('./report.mjs').Section} */
function describe(results, { against, rounds }) {
  const compared = figures.map(({ what, unit, more }) => {
    const [before, now] = ['before', 'now'].map((key) => results.get(key).map((each) => each[what]));
    const [low, middle, high] = middleRange(now.map((value, round) => value / before[round]));
    const [worse, better] = more ? [high < 1, low > 1] : [low > 1, high < 1];
    const verdict = worse ? 'worse' : better ? 'better' : '';
    return { what, unit, before, now, low, middle, high, verdict };
  });
  const worseNow = compared.filter(({ verdict }) => verdict === 'worse');
  return {
    title: `This checkout against ${path.basename(path.resolve(against))}`,
    tables: [
      {
        head: ['What', 'Before', 'Now', 'Now ÷ before', 'Without the outer tenths', ''],
        rows: compared.map(({ what, unit, before, now, low, middle, high, verdict }) => [
          `${what}, ${unit}`,
          spread(before),
          spread(now),
          middle.toFixed(3),
          `${low.toFixed(3)}–${high.toFixed(3)}`,
          verdict,
        ]),
      },
    ],
    notes: [
      worseNow.length === 0
        ? '**Nothing became worse by more than the noise.**'
        : `**Worse by more than the noise: ${worseNow.map(({ what }) => what).join('; ')}.**`,
      `By more than the noise: all rounds say so but the tenth that says it least (${rounds} rounds). With the same program on both sides that happens by chance, too: measure again what is named.`,
      `One process tree for each side and cache, started once. ${connections} connections that stay open ask for one manifest by its digest.`,
    ],
    targets: [],
    raw: Object.fromEntries(results),
  };
}
