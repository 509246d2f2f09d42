import type { Ended, KeeperMessage, KeeperOrder, KeeperReport } from './keeper-messages.ts';
import { runProgram } from './run-program.ts';

/*
 * A process that runs the registry's collector for the cleaner. If the cleaner ends or hangs, it kills the collector and
 * restarts the registry: front doors then let writes through, and the registry must remember nothing that is gone.
 */
const sendEveryMs = 500;
/** distribution 2 and 3 say so of each blob that no manifest names. */
const takes = /^blob eligible for deletion: (\S+)$/;
const restartLimitMs = 120_000;
const restartTries = 5;
const retryMs = 3000;
/** Front doors let writes through 10 s after the cleaner's last word. */
const maxSilentMs = 6000;

// Signals to the whole service end the cleaner, which this process outlives.
process.on('SIGTERM', () => {});
process.on('SIGINT', () => {});
process.on('SIGHUP', () => {});
const stopping = new AbortController();
const stop = () => stopping.abort();
let silence: NodeJS.Timeout | undefined;
process.on('disconnect', stop);
process.on('message', (message: KeeperMessage) => {
  clearTimeout(silence);
  silence = setTimeout(stop, maxSilentMs).unref();
  if (message.kind === 'run') void keep(message);
  else if (message.kind === 'stop') stop();
});

async function keep({ command, maxMs, restart }: KeeperOrder): Promise<void> {
  if (command.length > 0) await collect(command, maxMs);
  if (restart.length > 0) await restartRegistry(restart);
  clearTimeout(silence);
  if (process.connected) process.disconnect();
}

async function collect(command: readonly string[], maxMs: number): Promise<void> {
  let digests: string[] = [];
  let count = 0;
  const flush = () => {
    if (digests.length > 0) tell({ kind: 'takes', digests });
    digests = [];
    tell({ kind: 'lines', count });
  };
  const timer = setInterval(flush, sendEveryMs);
  const ended = await runProgram(command, {
    ...{ maxMs, signal: stopping.signal, leavesRest: false },
    onStart: (pid) => tell({ kind: 'started', pid }),
    onLine: (line) => {
      count += 1;
      const digest = takes.exec(line)?.[1];
      if (digest !== undefined) digests.push(digest);
    },
  });
  clearInterval(timer);
  flush();
  tell({ kind: 'collected', ...ended });
}

/** Tries a few times, and goes on as long as the cleaner waits for it. */
async function restartRegistry(command: readonly string[]): Promise<void> {
  for (let tries = 1; ; tries++) {
    const ended: Ended = await runProgram(command, {
      maxMs: restartLimitMs,
      signal: new AbortController().signal,
      onLine: () => {},
      leavesRest: true,
    });
    tell({ kind: 'restarted', ...ended });
    if (ended.code === 0 || (stopping.signal.aborted && tries >= restartTries)) return;
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

function tell(report: KeeperReport): void {
  if (process.connected) process.send?.(report, () => {}); // the cleaner may have ended
}
