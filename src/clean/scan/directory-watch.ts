import { readStatus } from './file-status.ts';
import { runAtOnce, type Steps } from './paced-steps.ts';

/** The kernel's clock for files moves in steps of some milliseconds; others, as of ext3, in steps of seconds. */
const unsureMs = 2000;

/** One number that changes whenever a status does. */
type State = { readonly mtimeMs: number; readonly ctimeMs: number; readonly inode: number };

/**
 * Finds out whether folders were written to since they were read: a folder's times change when an entry comes or goes,
 * a file's when its content does. It holds no descriptors, and needs no notice from the kernel.
 */
export class DirectoryWatch {
  readonly #states = new Map<string, State | null>();
  readonly #unsure = new Set<string>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get size(): number {
    return this.#states.size;
  }

  /**
   * Call it before the folder or file is read. What changed within the last two seconds could change again without
   * other times: it counts as changed.
   */
  add(path: string): void {
    const state = readState(path);
    this.#states.set(path, state);
    if (state !== null && Math.abs(this.#now() - state.ctimeMs) < unsureMs) this.#unsure.add(path);
    else this.#unsure.delete(path);
  }

  /** What changed, came, or went since it was added, and what is unsure. */
  changed(): readonly string[] {
    return runAtOnce(this.findChanged());
  }

  /** The same in small steps. */
  *findChanged(): Steps<readonly string[]> {
    const changed: string[] = [];
    for (const [path, before] of this.#states) {
      if (this.#unsure.has(path) || !isSame(before, readState(path))) changed.push(path);
      yield;
    }
    return changed;
  }

  /** Finds one that certainly changed, in small steps; null: there is none. @param except what is not looked at */
  *findWritten(except: { has(path: string): boolean }): Steps<string | null> {
    for (const [path, before] of this.#states) {
      if (!except.has(path) && !isSame(before, readState(path))) return path;
      yield;
    }
    return null;
  }
}

function isSame(one: State | null, other: State | null): boolean {
  if (one === null || other === null) return one === other;
  return one.mtimeMs === other.mtimeMs && one.ctimeMs === other.ctimeMs && one.inode === other.inode;
}

/** Null: missing, or out of reach. */
function readState(path: string): State | null {
  try {
    const status = readStatus(path);
    return status === null ? null : { mtimeMs: status.mtimeMs, ctimeMs: status.ctimeMs, inode: status.ino };
  } catch {
    return null;
  }
}
