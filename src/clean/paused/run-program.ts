import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Ended } from './keeper-messages.ts';

const maxLineBytes = 1024;
const keptLines = 10;

/**
 * Runs a program in a process group of its own, and kills the group at the time limit, when the signal is aborted, and
 * unless `leavesRest` at its end.
 */
export function runProgram(
  [file = '', ...args]: readonly string[],
  options: {
    readonly maxMs: number;
    readonly signal: AbortSignal;
    /** Gets each line of its output, cut to 1 KiB. */
    readonly onLine: (line: string) => void;
    readonly onStart?: (pid: number) => void;
    /** Whether what it has started lives on. */
    readonly leavesRest: boolean;
  },
): Promise<Ended> {
  const { maxMs, signal, onLine, onStart, leavesRest } = options;
  return new Promise((resolve) => {
    const lastLines: string[] = [];
    let isLate = false;
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const kill = () => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // The group is gone.
      }
    };
    const timer = setTimeout(() => {
      isLate = true;
      kill();
    }, maxMs);
    const keep = (line: string) => {
      lastLines.push(line);
      if (lastLines.length > keptLines) lastLines.shift();
      onLine(line);
    };
    readLines(child.stdout, keep);
    readLines(child.stderr, keep);
    const end = (code: number | null) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', kill);
      if (!leavesRest) kill();
      child.stdout.destroy();
      child.stderr.destroy();
      resolve({ code, isLate, lastLines });
    };
    child.on('error', (error) => {
      keep(error.message);
      if (child.pid === undefined) end(null);
    });
    // Not 'close': what outlives it may keep its output open.
    child.on('exit', (code) => setImmediate(end, code));
    if (child.pid !== undefined) onStart?.(child.pid);
    signal.addEventListener('abort', kill, { once: true });
    if (signal.aborted) kill();
  });
}

function readLines(stream: Readable, onLine: (line: string) => void): void {
  let line = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = text.split('\n');
    lines.forEach((part, i) => {
      if (line.length < maxLineBytes) line = (line + part).slice(0, maxLineBytes);
      if (i === lines.length - 1) return;
      if (line.trim() !== '') onLine(line.trimEnd());
      line = '';
    });
  });
  stream.on('end', () => {
    if (line.trim() !== '') onLine(line.trimEnd());
  });
}
