import { OperatorError } from '../../system/operator-error.ts';
import { formatMinute } from '../channel/minute.ts';
import type { Progress } from './messages.ts';

export type JobName = 'plan' | 'run' | 'undo' | 'purge' | 'tag remove';

/** What is going on. */
export type Job = {
  readonly name: JobName;
  readonly by: 'command' | 'schedule';
  readonly since: number;
  readonly progress: Progress | null;
};

export type JobContext = {
  /** Aborted: end at the next safe point. */
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
};

export type Jobs = {
  /** The running one. */
  readonly current: Job | null;
  /** Does it, if nothing else is going on. @throws OperatorError when something is */
  start<Result>(
    job: { readonly name: JobName; readonly by: Job['by']; readonly signal?: AbortSignal },
    work: (context: JobContext) => Promise<Result>,
    onProgress?: (progress: Progress) => void,
  ): Promise<Result>;
  /** Ends the running one at its next safe point, and waits for it; none begins from then on. */
  close(): Promise<void>;
};

/** One job at a time: each changes what the others would find. */
export function createJobs(): Jobs {
  const closing = new AbortController();
  let current: Job | null = null;
  let ended: Promise<unknown> = Promise.resolve();
  return {
    get current() {
      return current;
    },
    start: (job, work, onProgress) => {
      if (closing.signal.aborted) throw new OperatorError('The cleaner is stopping: nothing was begun.');
      if (current !== null) throw new OperatorError(explainBusy(current));
      current = { name: job.name, by: job.by, since: Date.now(), progress: null };
      const running = current;
      const context: JobContext = {
        signal: AbortSignal.any([closing.signal, ...(job.signal === undefined ? [] : [job.signal])]),
        onProgress: (progress) => {
          current = { ...running, progress };
          onProgress?.(progress);
        },
      };
      const done = work(context).finally(() => (current = null));
      ended = done.catch(() => {});
      return done;
    },
    close: async () => {
      closing.abort();
      await ended;
    },
  };
}

function explainBusy({ name, by, since }: Job): string {
  const origin = by === 'schedule' ? ', begun by clean.schedule' : '';
  return `The cleaner is busy: tidegate ${name === 'tag remove' ? name : `clean ${name}`} has been running since ${formatMinute(since)}${origin}. Try again when it has ended; tidegate clean status shows how far it is.`;
}
