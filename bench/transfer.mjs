import { cpuSeconds, forgetPeak, memoryMiB } from './process-tree.mjs';
import { digits, medianRatio, spread } from './statistics.mjs';
import { median } from './statistics.mjs';

const gib = 1024 ** 3;
const mib = 1024 ** 2;

/**
 * Runs transfers and measures time, CPU and memory.
 * @param {import('./rig.mjs').Rig} rig
 * @param {import('./rig.mjs').Subject} subject
 * @param {() => Promise<{ bytes: number, startedAtMs: number, endedAtMs: number }[]>} work all transfers at once
 * @returns {Promise<Transfer>}
 *
 * @typedef {{ speed: number, cpu: number, allCpu: number, peak: number }} Transfer
 *   MiB a second; CPU-seconds a GiB of the front door's processes, and of these and the registry's together; the most memory
 *   that the front door's processes had, in MiB
 */
export async function measureTransfer(rig, subject, work) {
  const registry = await rig.registry();
  const used = () => ({ own: cpuSeconds(subject.pid), registry: cpuSeconds(registry.pid) });
  forgetPeak(subject.pid);
  const before = used();
  const done = await work();
  const after = used();
  const bytes = done.reduce((sum, each) => sum + each.bytes, 0);
  const startedAtMs = Math.min(...done.map((each) => each.startedAtMs));
  const endedAtMs = Math.max(...done.map((each) => each.endedAtMs));
  const own = after.own - before.own;
  return {
    speed: bytes / mib / ((endedAtMs - startedAtMs) / 1000),
    cpu: own / (bytes / gib),
    allCpu: (own + after.registry - before.registry) / (bytes / gib),
    peak: memoryMiB(subject.pid).peak,
  };
}

/**
 * @param {import('./rig.mjs').Subject[]} subjects
 * @param {Map<string, Transfer[]>} results
 */
export function transferTable(subjects, results) {
  const of = (key, what) => results.get(key).map((each) => each[what]);
  const peers = ['nginx', 'caddy'].filter((key) => results.has(key));
  const names = new Map(subjects.map(({ key, name }) => [key, name]));
  return {
    head: [
      'Front door',
      'MiB/s',
      ...peers.map((key) => `× ${names.get(key)}`),
      'CPU-s per GiB',
      '× nginx',
      'with the registry',
      'Peak MiB',
    ],
    rows: subjects.map(({ key, name }) => [
      name,
      spread(of(key, 'speed')),
      ...peers.map((peer) => digits(medianRatio(of(key, 'speed'), of(peer, 'speed')))),
      digits(median(of(key, 'cpu'))),
      digits(medianRatio(of(key, 'cpu'), of('nginx', 'cpu'))),
      digits(median(of(key, 'allCpu'))),
      digits(Math.max(...of(key, 'peak'))),
    ]),
  };
}

/** The ratio of two subjects' figures of one kind. */
export function transferRatio(results, what, key, peer) {
  const of = (each) => results.get(each).map((one) => one[what]);
  return medianRatio(of(key), of(peer));
}
