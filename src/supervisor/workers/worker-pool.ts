import type { Logger } from 'pino';
import type { WorkersStatus } from '../../admin/server-status.ts';
import { OperatorError } from '../../system/operator-error.ts';
import type { LogSink } from '../../telemetry/log/logger.ts';
import { joinWaiting, type WaitingRequests } from '../../telemetry/metrics/waiting-requests.ts';
import { createBackOff, type BackOff } from './back-off.ts';
import type { ListenAddress } from '../../app/app.ts';
import type { SharedServices } from '../shared-services.ts';
import { startWorkerProcess, type WorkerExit, type WorkerProcess } from './worker-process.ts';

/** How long a worker may take to report what it waits for, in milliseconds. */
const waitingLimitMs = 1000;

/** The worker processes. One that ends while they serve is replaced. */
export type WorkerPool = {
  /** Starts all of them. Rejects with an OperatorError when one ends before all listen; then kill the others. */
  start(): Promise<ListenAddress>;
  status(): WorkersStatus;
  /** The requests in progress, as far as known; complete only during the drain. */
  waiting(): Promise<WaitingRequests>;
  reopenLogs(): void;
  /** Lets requests in progress finish for `graceMs` milliseconds; resolves when all workers have ended. */
  stop(graceMs: number): Promise<void>;
  kill(): Promise<void>;
};

export type WorkerPoolOptions = {
  readonly size: number;
  readonly services: SharedServices;
  readonly passOn: LogSink['passOn'];
  readonly logger: Logger;
};

export function createWorkerPool({ size, services, passOn, logger }: WorkerPoolOptions): WorkerPool {
  const workers = new Set<WorkerProcess>();
  const backOffs = Array.from({ length: size }, () => createBackOff(() => performance.now()));
  const restarts = new Set<NodeJS.Timeout>();
  let restarted = 0;
  let state: 'starting' | 'serving' | 'stopping' = 'starting';
  let onStarted: (address: ListenAddress) => void = () => {};
  let onStartFailed: (error: OperatorError) => void = () => {};
  /** Called when a worker has reported what it waits for, or is gone. */
  let onWaiting = () => {};
  const countListening = () => [...workers].filter((worker) => worker.isListening()).length;

  /** Starts a worker, which stays in the pool while it lives. @throws Error when no process can be created */
  const launch = (backOff: BackOff): void => {
    const worker = startWorkerProcess({
      ...{ services, passOn, logger },
      onListening: (address, workerPid) => {
        backOff.started();
        if (state === 'serving') logger.info({ workerPid }, 'a worker process is listening');
        if (state === 'starting' && countListening() === size) onStarted(address);
      },
      onWaiting: () => onWaiting(),
      onExit: (exit) => {
        workers.delete(worker);
        onWaiting();
        if (state === 'starting') onStartFailed(new OperatorError(describeEarlyEnd(exit)));
        if (state === 'serving') replace(backOff, exit);
      },
    });
    workers.add(worker);
  };

  const replace = (backOff: BackOff, { reason, ...end }: Partial<WorkerExit> & { reason: string }): void => {
    const retryMs = backOff.ended();
    restarted += 1;
    const fields = { ...end, ...(reason && { reason }), retryMs, crashLoop: backOff.loops() };
    logger.error(fields, 'a worker process has ended: another takes its place');
    const restart = setTimeout(() => {
      restarts.delete(restart);
      try {
        launch(backOff);
      } catch (error) {
        replace(backOff, { reason: (error as Error).message });
      }
    }, retryMs);
    restarts.add(restart);
  };

  return {
    start: () =>
      new Promise((resolve, reject) => {
        onStarted = (address) => {
          state = 'serving';
          resolve(address);
        };
        onStartFailed = reject;
        try {
          for (const backOff of backOffs) launch(backOff);
        } catch (error) {
          reject(new OperatorError(`A worker process cannot be started: ${(error as Error).message}.`));
        }
      }),
    status: () => ({
      wanted: size,
      serving: state === 'serving' ? countListening() : 0,
      restarts: restarted,
      crashLoop: backOffs.some((backOff) => backOff.loops()),
    }),
    waiting: () =>
      new Promise((resolve) => {
        const known = () => [...workers].flatMap((worker) => worker.waiting() ?? []);
        const tell = () => resolve(joinWaiting(known()));
        onWaiting = () => {
          if (known().length === workers.size) tell();
        };
        onWaiting();
        setTimeout(tell, waitingLimitMs).unref(); // a worker hangs
      }),
    reopenLogs: () => {
      for (const worker of workers) worker.reopenLogs();
    },
    stop: async (graceMs) => {
      logger.info({ workers: workers.size, graceMs }, 'shutting down');
      state = 'stopping';
      for (const restart of restarts) clearTimeout(restart);
      await Promise.all([...workers].map((worker) => worker.stop(graceMs)));
    },
    kill: async () => {
      state = 'stopping';
      await Promise.all([...workers].map((worker) => worker.kill()));
    },
  };
}

function describeEarlyEnd({ code, signal, reason }: WorkerExit): string {
  const cause = signal ? `by ${signal}` : `with exit code ${code}`;
  return reason || `A worker process ended ${cause} before all were listening.`;
}
