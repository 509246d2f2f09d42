import { memoryMiB, openFiles } from '../process-tree.mjs';
import { atOnce, sendMixedRequests } from '../mixed-requests.mjs';
import { atMost } from '../report.mjs';
import { startSlowReaders } from '../slow-readers.mjs';
import { digits } from '../statistics.mjs';
import { median } from '../statistics.mjs';

const slowDoors = ['nginx', 'caddy', 'haproxy', 'registry-tls', 'tidegate'];
/** nginx with bcrypt would need an hour for the requests. */
const mixedDoors = ['nginx-plain', 'caddy', 'tidegate'];
const readers = 100;
const sampleEveryMs = 250;

/**
 * Measures memory during many slow downloads, and after many requests.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureMemory(rig, { quick }) {
  const slow = await measureSlowReaders(rig, {
    doors: quick ? ['nginx', 'tidegate'] : slowDoors,
    idleSeconds: quick ? 1 : 10,
    seconds: quick ? 2 : 15,
  });
  const count = quick ? 5_000 : 50_000;
  const mixed = await measureMixed(rig, quick ? ['tidegate'] : mixedDoors, count);
  return {
    title: 'Memory',
    tables: [slow.table, mixed.table],
    notes: [
      `Measured once. First table: ${readers} downloads of a large blob at once, each read at some hundred KiB a second. Added up over all processes: RSS counts shared pages in each of them, PSS divides them by who shares them. Each front door is started anew before.`,
      `Second table: ${count.toLocaleString('en')} requests of many kinds (pulls, pushes, refusals), one in ten given up by the client in the middle; RSS after each tenth of them. Growth is from the median of the 3rd to 5th to that of the 8th to 10th. nginx has plain-text passwords there. Left open are sockets and files, beside those before; as many connections to the registry as there were clients at once (${atOnce}) may be kept.`,
    ],
    targets: [
      atMost('idle, RSS', slow.raw.tidegate.idleRss, 120, ' MiB'),
      atMost(`${readers} slow downloads, RSS`, slow.raw.tidegate.rss, 150, ' MiB'),
      // The first thousands let each program grow to its normal size.
      ...(quick
        ? []
        : [
            atMost(
              `growth over ${count.toLocaleString('en')} mixed requests`,
              mixed.raw.tidegate.growth,
              1.1,
              ' ×',
            ),
          ]),
      atMost('sockets and files left open after them', mixed.raw.tidegate.leftOpen, atOnce),
    ],
    raw: { slow: slow.raw, mixed: mixed.raw },
  };
}

async function measureSlowReaders(rig, { doors, idleSeconds, seconds }) {
  const blob = await rig.blob(256 * 1024 * 1024);
  const raw = {};
  const rows = [];
  for (const door of doors) {
    const subject = await rig.start(door);
    await subject.restart();
    console.log(`  slow readers: ${door}`);
    await pause(idleSeconds * 1000); // what a start leaves behind is collected
    const before = memoryMiB(subject.pid);
    const slowReaders = await startSlowReaders(rig, subject, { count: readers, target: blob.path });
    const samples = [];
    for (let i = 0; i < (seconds * 1000) / sampleEveryMs; i += 1) {
      await pause(sampleEveryMs);
      samples.push(memoryMiB(subject.pid));
    }
    slowReaders.stop();
    await subject.restart(); // so that it does not go on with transfers that nobody reads
    const most = (what) => Math.max(...samples.map((each) => each[what]));
    raw[door] = { idleRss: before.rss, rss: most('rss'), pss: most('pss'), peak: most('peak') };
    rows.push([subject.name, ...['idleRss', 'rss', 'pss', 'peak'].map((what) => digits(raw[door][what]))]);
  }
  return { raw, table: { head: ['Front door', 'Idle RSS, MiB', 'RSS', 'PSS', 'Highest RSS'], rows } };
}

async function measureMixed(rig, doors, count) {
  const raw = {};
  const rows = [];
  for (const door of doors) {
    const subject = await rig.start(door);
    await subject.restart();
    console.log(`  mixed requests: ${door}`);
    await sendMixedRequests(rig, subject, { count: 100, onTenth: () => {} }); // this opens connections to the registry
    const openBefore = await settledOpenFiles(subject.pid);
    const rss = [];
    const onTenth = () => rss.push(memoryMiB(subject.pid).rss);
    await sendMixedRequests(rig, subject, { count, onTenth });
    const openAfter = await settledOpenFiles(subject.pid);
    const growth = median(rss.slice(7)) / median(rss.slice(2, 5));
    const leftOpen = openAfter - openBefore;
    raw[door] = { rss, growth, leftOpen };
    rows.push([
      subject.name,
      rss.map((each) => Math.round(each)).join(' '),
      digits(growth),
      String(leftOpen),
    ]);
  }
  return { raw, table: { head: ['Front door', 'RSS, MiB', 'Growth, ×', 'Left open'], rows } };
}

/** Closing takes time: waits until the number is the same for two seconds. */
async function settledOpenFiles(pid) {
  const seen = [];
  while (seen.length < 9 || new Set(seen.slice(-9)).size > 1) {
    if (seen.length > 120) break;
    seen.push(openFiles(pid));
    await pause(sampleEveryMs);
  }
  return seen.at(-1);
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
