import fs from 'node:fs';
import path from 'node:path';

/**
 * Takes the lock file without waiting. Returns `{ release }`, or `{ heldBy }` with the process id of the living
 * holder. The lock of a process that is gone counts as free; this process gives its own back when it exits.
 * @param {string} file
 * @returns {{ release: () => void, heldBy?: undefined } | { release?: undefined, heldBy: number }}
 */
export function tryLock(file) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const own = `${file}.${process.pid}`;
  const identity = identityOf(process.pid);
  fs.writeFileSync(own, identity);
  try {
    for (;;) {
      try {
        // A link appears together with its content, so nobody ever reads a half-written lock.
        fs.linkSync(own, file);
        break;
      } catch (error) {
        if (error.code !== 'EEXIST') throw error;
      }
      const holder = readIfThere(file);
      if (holder === undefined) continue;
      const pid = Number(holder.split(' ')[0]);
      if (identityOf(pid) === holder) return { heldBy: pid };
      takeAway(file, holder, `${own}.stale`);
    }
  } finally {
    fs.rmSync(own, { force: true });
  }
  const release = () => {
    process.off('exit', release);
    if (readIfThere(file) === identity) fs.rmSync(file, { force: true });
  };
  process.on('exit', release);
  return { release };
}

/**
 * Takes the lock file, waiting for a living holder as long as it takes; `onWait(pid)` is called once when there is one.
 * @param {string} file
 * @param {(pid: number) => void} onWait
 * @returns {Promise<() => void>} gives the lock back
 */
export async function waitForLock(file, onWait) {
  for (let told = false; ; told = true) {
    const { release, heldBy } = tryLock(file);
    if (release) return release;
    if (!told) onWait(heldBy);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Removes a dead holder's lock; one that was taken anew in the meantime is put back. */
function takeAway(file, deadHolder, aside) {
  try {
    fs.renameSync(file, aside);
    if (fs.readFileSync(aside, 'utf8') !== deadHolder) fs.linkSync(aside, file);
  } catch (error) {
    if (error.code !== 'ENOENT' && error.code !== 'EEXIST') throw error;
  } finally {
    fs.rmSync(aside, { force: true });
  }
}

/** "PID START": a process id alone is used again sooner or later. Empty when there is no such process. */
function identityOf(pid) {
  if (!Number.isSafeInteger(pid) || pid <= 0) return '';
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code !== 'EPERM') return '';
  }
  // proc(5): field 22 is the start time; field 2, the name in parentheses, may itself hold spaces.
  const stat = readIfThere(`/proc/${pid}/stat`);
  const startTime = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  return `${pid} ${startTime ?? '-'}`;
}

function readIfThere(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined;
    throw error;
  }
}
