import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { LogLine } from './front-door.ts';
import { mainPath, stop, tidegate, type Finished } from './processes.ts';

/** `tidegate clean serve`, the real program. */
export type Cleaner = {
  readonly process: ChildProcess;
  /** Who has read enough may empty it. */
  readonly log: LogLine[];
  /** Waits for a log line; earlier lines count. */
  logged(matches: (line: LogLine) => boolean): Promise<LogLine>;
  stop(): Promise<void>;
};

/**
 * @param args what follows `clean serve`
 * @param cwd where relative paths begin
 */
export async function startCleaner(args: readonly string[], cwd: string): Promise<Cleaner> {
  const child = spawn(process.execPath, [mainPath, 'clean', 'serve', ...args], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log: LogLine[] = [];
  const waiting = new Set<() => void>();
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  createInterface({ input: child.stdout }).on('line', (text) => {
    log.push(JSON.parse(text) as LogLine);
    for (const look of waiting) look();
  });
  const logged: Cleaner['logged'] = (matches) =>
    new Promise((resolve) => {
      const look = () => {
        const line = log.find(matches);
        if (line === undefined) return;
        waiting.delete(look);
        resolve(line);
      };
      waiting.add(look);
      look();
    });
  const died = once(child, 'exit').then(() => {
    throw new Error(`clean serve ended before it was ready: ${stderr}`);
  });
  await Promise.race([logged(({ msg }) => msg === 'cleaner ready'), died]);
  died.catch(() => {}); // from here on its end is the test's own doing
  return { process: child, log, logged, stop: () => stop(child) };
}

/** Runs a command of the clean-up to its end. */
export const cleanCommand = (args: readonly string[], cwd: string): Promise<Finished> =>
  tidegate(args, { cwd });
