import { checkBlob, curl } from '../curl.mjs';
import { atLeast, atMost } from '../report.mjs';
import { takeTurns } from '../statistics.mjs';
import { measureTransfer, transferRatio, transferTable } from '../transfer.mjs';

const doors = ['nginx', 'nginx-plain', 'caddy', 'haproxy', 'registry-tls', 'tidegate'];

/**
 * Downloads a large blob, with one client and with four at once.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureDownloads(rig, { quick, rounds }) {
  const mebibytes = quick ? 256 : 512;
  const manyMebibytes = quick ? 64 : 512;
  const knowsStorage = await rig.knows(`upstream.storage=${(await rig.registry()).storage}`);
  const subjects = [];
  for (const door of [...doors, ...(knowsStorage ? ['tidegate-storage'] : [])]) {
    subjects.push(await rig.start(door));
  }
  const blob = await rig.blob(mebibytes * 1024 * 1024);
  const smallBlob = await rig.blob(manyMebibytes * 1024 * 1024);
  const results = await takeTurns(subjects, rounds, async (subject) => {
    await checkBlob(rig, subject, smallBlob);
    return {
      one: await downloadBlob(rig, subject, blob, 1),
      four: await downloadBlob(rig, subject, smallBlob, 4),
    };
  });
  const of = (kind) => new Map([...results].map(([key, values]) => [key, values.map((each) => each[kind])]));
  const one = of('one');
  const four = of('four');
  return {
    title: `Blob downloads: one of ${mebibytes} MiB, and four of ${manyMebibytes} MiB at once`,
    tables: [transferTable(subjects, one), transferTable(subjects, four)],
    notes: [
      'First table: one client; second: four. curl over HTTP/1.1; each status and byte count is checked, and the hash of a further download in each round.',
      'nginx, HAProxy and the registry hash the password at each request, Tidegate and Caddy remember it: that is some 60 ms of each transfer. nginx with plain-text passwords is there to tell this apart.',
      `What curl and they agree upon: ${subjects.map(({ name, cipher }) => `${name} ${cipher}`).join('; ')}.`,
      ...(knowsStorage ? [] : ['This build has no `upstream.storage`.']),
    ],
    targets: [
      ...['1 stream', '4 streams'].flatMap((streams, i) => {
        const found = i === 0 ? one : four;
        const what = `download, ${streams}`;
        const [speed, cpu] = i === 0 ? [1.25, 0.6] : [1.3, 0.65];
        return [
          atLeast(`${what}: speed × nginx`, transferRatio(found, 'speed', 'tidegate', 'nginx'), speed),
          atLeast(`${what}: speed × Caddy`, transferRatio(found, 'speed', 'tidegate', 'caddy'), 1),
          atMost(`${what}: CPU × nginx`, transferRatio(found, 'cpu', 'tidegate', 'nginx'), cpu),
        ];
      }),
      ...(knowsStorage ? storageTargets(one, four) : []),
    ],
    raw: { one: Object.fromEntries(one), four: Object.fromEntries(four) },
  };
}

/** Downloads a blob with some clients at once. */
export function downloadBlob(rig, subject, { path, bytes }, streams) {
  return measureTransfer(rig, subject, () =>
    Promise.all(
      Array.from({ length: streams }, async () => {
        const done = await curl(rig, subject, path);
        if (done.status !== 200 || done.bytesIn !== bytes) {
          throw new Error(
            `${subject.name} answered ${done.status} with ${done.bytesIn} bytes instead of ${bytes}`,
          );
        }
        return { bytes, ...done };
      }),
    ),
  );
}

function storageTargets(one, four) {
  const ratio = (found, what, peer) => transferRatio(found, what, 'tidegate-storage', peer);
  const what = (streams) => `download from storage, ${streams}`;
  return [
    atLeast(`${what('1 stream')}: speed × nginx`, ratio(one, 'speed', 'nginx'), 1.6),
    atLeast(`${what('1 stream')}: speed × Caddy`, ratio(one, 'speed', 'caddy'), 1.4),
    atLeast(`${what('4 streams')}: speed × nginx`, ratio(four, 'speed', 'nginx'), 1.8),
    ...[one, four].flatMap((found, i) => [
      atLeast(
        `${what(i === 0 ? '1 stream' : '4 streams')}: speed × the registry itself`,
        ratio(found, 'speed', 'registry-tls'),
        0.95,
      ),
      atMost(`${what(i === 0 ? '1 stream' : '4 streams')}: CPU × nginx`, ratio(found, 'cpu', 'nginx'), 0.5),
    ]),
  ];
}
