import { runAb } from '../ab.mjs';
import { curl } from '../curl.mjs';
import { askForManifest, loadManifest } from '../manifest-load.mjs';
import { atLeast, atMost } from '../report.mjs';
import { cpuSeconds } from '../process-tree.mjs';
import { describeRounds, digits, median, medianRatio, spread, takeTurns } from '../statistics.mjs';
import { clientHeaders, runWrk, startWrk } from '../wrk.mjs';

const mib = 1024 ** 2;
const gib = 1024 ** 3;
const doors = ['nginx-plain', 'caddy', 'tidegate', 'tidegate-storage'];
/** How many clients ask for manifests beside the downloads, and how long each waits after an answer, in milliseconds. */
const askers = 8;
const askerPauseMs = 10;
const askingSeconds = 5;
const downloads = 4;
/** How many new clients come at once, and how many send requests without pause beside them. */
const newClients = 3000;
const busyConnections = 32;
/** How many clients pull one layer at once, and its size. */
const pullers = 48;
const layerBytes = 32 * mib;
const pullingSeconds = 5;
const mostRounds = 3;

/**
 * Measures many clients at once: small answers beside downloads, new connections, one layer for all.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureCrowds(rig, { quick, rounds }) {
  const usedRounds = quick ? 1 : Math.min(rounds, mostRounds);
  const manifest = await rig.image();
  const blob = await rig.blob(256 * mib);
  const layer = await rig.blob(layerBytes);
  const options = { target: manifest.paths.digest, ca: rig.ca, manifest };
  const load = { ...options, authorization: rig.credentials.authorization };
  const subjects = [];
  for (const door of doors) subjects.push(await startPatient(rig, door));
  for (const subject of subjects)
    await loadManifest(subject, { ...load, connections: busyConnections, seconds: 3 });
  const results = await takeTurns(subjects, usedRounds, async (subject) => {
    const beside = await askBesideDownloads(rig, subject, load, blob);
    const pulling = await pullLayer(subject, { ...load, target: layer.path });
    const alone = await comeAtOnce(subject, load);
    const busy = startWrk(subject, { ...load, connections: busyConnections });
    const besideBusy = await comeAtOnce(subject, load);
    await busy.stop();
    return { ...beside, ...pulling, alone, besideBusy };
  });
  const of = (door, what) => results.get(nameOf(door)).map((each) => each[what]);
  const ratio = (what, door, peer) => medianRatio(of(door, what), of(peer, what));
  const columns = ['p99Ms', 'speed', 'alone', 'besideBusy'];
  return {
    title: 'Many clients at once',
    tables: [
      {
        head: [
          'Front door',
          ...['p99, ms', '× nginx', 'One layer, MiB/s', '× nginx', 'CPU-s per GiB'],
          ...['New clients, s', '× nginx', 'beside requests, s', '× nginx'],
        ],
        rows: doors.map((door, index) => {
          const [p99, speed, alone, besideBusy] = columns.map((what) => [
            spread(of(door, what)),
            digits(ratio(what, door, 'nginx-plain')),
          ]);
          return [
            subjects[index].name,
            ...p99,
            ...speed,
            digits(median(of(door, 'cpu'))),
            ...alone,
            ...besideBusy,
          ];
        }),
      },
    ],
    notes: [
      `${describeRounds(usedRounds)} nginx has plain-text passwords and \`proxy_cache\`.`,
      `p99: ${askers} clients ask for a cached manifest, each ${askerPauseMs} ms after its last answer, while ${downloads} downloads take what is left of the machine; all but a hundredth of the answers came within this time. One layer: ${pullers} clients pull the same ${layerBytes / mib} MiB again and again for ${pullingSeconds} s. New clients: ${newClients.toLocaleString('en')} open a connection each at once and pull the manifest, until the last has it; then the same beside ${busyConnections} connections that ask without pause. Tidegate's \`limits.handshakeTimeout\` is raised to nginx's 60 s for that, and \`limits.connectionsPerAddress\`, since all come from one address.`,
    ],
    targets: [
      atMost('manifest beside downloads: p99 × nginx', ratio('p99Ms', 'tidegate', 'nginx-plain'), 0.5),
      atLeast(
        `${pullers} clients, one layer from storage: speed × nginx`,
        ratio('speed', 'tidegate-storage', 'nginx-plain'),
        1.4,
      ),
      atLeast(
        `${pullers} clients, one layer from storage: speed × Caddy`,
        ratio('speed', 'tidegate-storage', 'caddy'),
        1.2,
      ),
      atMost(
        `${newClients.toLocaleString('en')} new clients: time × nginx`,
        ratio('alone', 'tidegate', 'nginx-plain'),
        1.2,
      ),
      atMost('the same beside requests: time × nginx', ratio('besideBusy', 'tidegate', 'nginx-plain'), 2),
    ],
    raw: Object.fromEntries(doors.map((door) => [door, results.get(nameOf(door))])),
  };
}

/** The name of the front door whose limits are raised. */
function nameOf(door) {
  return `${door}-crowds`;
}

function startPatient(rig, door) {
  const patience = { 'limits.handshakeTimeout': '60s', 'limits.connectionsPerAddress': '10000' };
  return rig.start(door, { as: nameOf(door), set: door.startsWith('tidegate') ? patience : {} });
}

async function askBesideDownloads(rig, subject, load, blob) {
  let isOver = false;
  const downloading = Array.from({ length: downloads }, async () => {
    while (!isOver) {
      const { status, bytesIn } = await curl(rig, subject, blob.path);
      if (status !== 200 || bytesIn !== blob.bytes) throw new Error(`${subject.name} cut a download`);
    }
  });
  try {
    const { p50Us, p99Us } = await loadManifest(subject, {
      ...{ ...load, connections: askers, seconds: askingSeconds },
      mode: ['pace', String(askerPauseMs)],
    });
    return { p50Ms: p50Us / 1000, p99Ms: p99Us / 1000 };
  } finally {
    isOver = true;
    await Promise.all(downloading);
  }
}

async function pullLayer(subject, { target, authorization }) {
  const before = cpuSeconds(subject.pid);
  const { bytes, microseconds, failed, refused } = await runWrk(subject, {
    ...{ target, authorization, connections: pullers, seconds: pullingSeconds },
  });
  if (failed + refused > 0) throw new Error(`${subject.name} failed to give ${failed + refused} layers`);
  const speed = bytes / mib / (microseconds / 1e6);
  return { speed, cpu: (cpuSeconds(subject.pid) - before) / (bytes / gib) };
}

/** How many seconds pass until the last of many new clients has the manifest. */
async function comeAtOnce(subject, load) {
  await askForManifest(subject, load);
  const { completed, refused, seconds } = await runAb(subject, {
    ...{ target: load.target, atOnce: newClients, limit: ['-n', String(newClients), '-s', '60'] },
    headers: { ...clientHeaders, Authorization: load.authorization },
  });
  if (completed !== newClients || refused > 0)
    throw new Error(
      `${subject.name} gave ${completed} of ${newClients} clients an answer, and refused ${refused}`,
    );
  return seconds;
}
