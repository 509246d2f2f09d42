import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Ended, KeeperMessage, KeeperOrder, KeeperReport } from './keeper-messages.ts';

/** What became of a collector. */
export type Collection = Ended & {
  /** Blobs that it said it takes, or in a trial would take. */
  readonly takes: ReadonlySet<string>;
  /** Whether the registry was restarted afterwards. */
  readonly isRestarted: boolean;
};

export type KeepOptions = KeeperOrder & {
  readonly onLines: (count: number) => void;
  readonly onRestarted?: (ended: Ended) => void;
  /** Aborted: ends the collector. */
  readonly signal: AbortSignal;
};

const pingMs = 1000;
const program = fileURLToPath(new URL('collector-keeper.js', import.meta.url));

/** Runs a collector under a keeper, which restarts the registry even if this process is killed. Never rejects. */
export function keepCollector({ onLines, onRestarted, signal, ...order }: KeepOptions): Promise<Collection> {
  return new Promise((resolve) => {
    const takes = new Set<string>();
    let ended: Ended = { code: null, isLate: false, lastLines: [] };
    let group: number | null = null;
    let isRestarted = false;
    const keeper = fork(program, {
      detached: true,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: withoutSettings(process.env),
    });
    const tell = (message: KeeperMessage) => {
      if (keeper.connected) keeper.send(message, () => {}); // it may have ended
    };
    const end = () => tell({ kind: 'stop' });
    const pinging = setInterval(() => tell({ kind: 'ping' }), pingMs);
    keeper.on('message', (message) => {
      const report = message as KeeperReport;
      if (report.kind === 'takes') for (const digest of report.digests) takes.add(digest);
      else if (report.kind === 'lines') onLines(report.count);
      else if (report.kind === 'started') group = report.pid;
      else if (report.kind === 'restarted') {
        isRestarted = report.code === 0;
        onRestarted?.(report);
      } else {
        ended = report;
        group = null;
      }
    });
    keeper.on('error', (error) => {
      ended = { code: null, isLate: false, lastLines: [error.message] };
      if (keeper.pid !== undefined) return;
      clearInterval(pinging);
      resolve({ ...ended, takes, isRestarted });
    });
    keeper.on('close', () => {
      clearInterval(pinging);
      signal.removeEventListener('abort', end);
      // The keeper was killed, and not the collector.
      if (group !== null) killGroup(group);
      resolve({ ...ended, takes, isRestarted });
    });
    signal.addEventListener('abort', end, { once: true });
    tell({ kind: 'run', ...order });
    if (signal.aborted) end();
  });
}

/** Tidegate's settings are not the collector's: some are passwords. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('TIDEGATE_')));
}

function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // It is gone.
  }
}
