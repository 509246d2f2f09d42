import fs from 'node:fs';

const pollMs = 500;

/**
 * Follows the processes of test files, which are this process's children: how long each takes, and what it starts. One that takes
 * longer than its limit is named, and ended with everything it has started, also what is a child of nobody any more (Linux, /proc).
 * @param {readonly string[]} files
 * @param {(file: string) => number} limitOf in milliseconds
 */
export function followFiles(files, limitOf) {
  /** @type {Map<string, Run>} */
  const running = new Map();
  /** @type {{ file: string, ms: number, isOver: boolean }[]} */
  const finished = [];

  const look = () => {
    const processes = readProcesses();
    const now = performance.now();
    for (const { pid, parent, id } of processes.values()) {
      if (parent !== process.pid || [...running.values()].some((run) => run.id === id)) continue;
      const file = findFile(pid, files);
      if (file !== undefined) running.set(file, { id, startedMs: now, ids: new Set([id]), isOver: false });
    }
    for (const [file, run] of running) {
      addDescendants(run.ids, processes);
      if (!isThere(run.id, processes)) {
        finished.push({ file, ms: now - run.startedMs, isOver: run.isOver });
        running.delete(file);
      } else if (now - run.startedMs > limitOf(file) && !run.isOver) {
        run.isOver = true;
        console.error(`${file} took longer than ${limitOf(file) / 1000} s, and is ended.`);
        endAll(run.ids, processes);
      }
    }
  };
  const timer = setInterval(look, pollMs);

  return {
    /** The files that took longest, the longest first; call it when all are done. */
    finish() {
      look();
      clearInterval(timer);
      return finished.sort((one, other) => other.ms - one.ms);
    },
  };
}

/**
 * `id`: pid and time of start, since pids are used again.
 * @typedef {{ id: string, startedMs: number, ids: Set<string>, isOver: boolean }} Run
 * @typedef {{ pid: number, parent: number, id: string }} Process
 */

/** @returns {Map<number, Process>} */
function readProcesses() {
  const processes = new Map();
  for (const name of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = read(`/proc/${name}/stat`);
    if (stat === null) continue; // gone meanwhile
    // The second field, the name in parentheses, may hold anything.
    const [state, parent, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state === 'Z') continue;
    const pid = Number(name);
    processes.set(pid, { pid, parent: Number(parent), id: `${pid}:${rest[17]}` });
  }
  return processes;
}

function findFile(pid, files) {
  const words = read(`/proc/${pid}/cmdline`)?.split('\0') ?? [];
  return files.find((file) => words.some((word) => word === file || word.endsWith(`/${file}`)));
}

/** What was once found stays: who started it may end before it does. */
function addDescendants(ids, processes) {
  let before;
  do {
    before = ids.size;
    for (const { parent, id } of processes.values()) {
      const starter = processes.get(parent);
      if (starter !== undefined && ids.has(starter.id)) ids.add(id);
    }
  } while (ids.size > before);
}

function isThere(id, processes) {
  return processes.get(Number.parseInt(id, 10))?.id === id;
}

function endAll(ids, processes) {
  for (const id of ids) {
    if (!isThere(id, processes)) continue;
    try {
      process.kill(Number.parseInt(id, 10), 'SIGKILL');
    } catch {
      // It has ended by itself, or belongs to another user.
    }
  }
}

function read(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
