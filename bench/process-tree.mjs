import fs from 'node:fs';

/** USER_HZ, in which proc(5) counts, is 100 wherever Node runs on Linux. */
const ticksPerSecond = 100;

/**
 * CPU time of a process and its descendants since its start, ended ones too, in seconds.
 * @param {number} pid
 */
export function cpuSeconds(pid) {
  const own = treeOf(pid);
  return own.reduce((sum, each) => sum + each.ticks, 0) / ticksPerSecond;
}

/** CPU time of this process's ended children, the clients, in seconds. */
export function endedChildrenCpuSeconds() {
  const { reapedTicks } = parseStat(fs.readFileSync('/proc/self/stat', 'latin1'));
  return reapedTicks / ticksPerSecond;
}

/**
 * Memory of a process and everything below it, in MiB: resident set sizes added up (shared pages as often as they are
 * mapped), proportional set sizes (shared pages divided by who shares them), and the highest resident set sizes so far.
 * @param {number} pid
 * @returns {{ rss: number, pss: number, peak: number }}
 */
export function memoryMiB(pid) {
  const sum = { rss: 0, pss: 0, peak: 0 };
  for (const each of treeOf(pid)) {
    const status = readOrEmpty(`/proc/${each.pid}/status`);
    sum.rss += kibibytes(status, 'VmRSS') / 1024;
    sum.peak += kibibytes(status, 'VmHWM') / 1024;
    sum.pss += kibibytes(readOrEmpty(`/proc/${each.pid}/smaps_rollup`), 'Pss') / 1024;
  }
  return sum;
}

/** Resets the peak resident set sizes (proc(5), clear_refs). */
export function forgetPeak(pid) {
  for (const each of treeOf(pid)) fs.writeFileSync(`/proc/${each.pid}/clear_refs`, '5');
}

/** Counts the open files and sockets of a process and its descendants. */
export function openFiles(pid) {
  return treeOf(pid).reduce((sum, each) => sum + fs.readdirSync(`/proc/${each.pid}/fd`).length, 0);
}

/** A process and its descendants. */
export function treeOf(pid) {
  const all = fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), stat: readOrEmpty(`/proc/${name}/stat`) }))
    .filter(({ stat }) => stat !== '')
    .map((each) => ({ pid: each.pid, ...parseStat(each.stat) }));
  const tree = all.filter((each) => each.pid === pid);
  for (const parent of tree) tree.push(...all.filter((each) => each.parent === parent.pid));
  return tree;
}

/** Fields of proc(5)'s stat, counted from the one after the program's name, which may hold spaces. */
function parseStat(stat) {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [user, system, reapedUser, reapedSystem] = fields.slice(11, 15).map(Number);
  const reapedTicks = reapedUser + reapedSystem;
  return { parent: Number(fields[1]), ticks: user + system + reapedTicks, reapedTicks };
}

function kibibytes(text, field) {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0);
}

/** A process may end between listing and reading. */
function readOrEmpty(file) {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
