import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import type { LogSink } from '../../telemetry/log/logger.ts';
import type { WaitingRequests } from '../../telemetry/metrics/waiting-requests.ts';
import type { ListenAddress } from '../../app/app.ts';
import type { FromWorker, ToWorker } from './messages.ts';
import type { SharedServices, WorkerMember } from '../shared-services.ts';

/** How much longer than its transfers a worker may take to end, in milliseconds. */
const endLimitMs = 5000;
/** How long to wait for the last log lines of a worker when nobody reads the log, in milliseconds. */
const lastLinesMs = 2000;

/** How a worker ended. `reason`: its own words, or why it could not be started. */
export type WorkerExit = {
  readonly workerPid: number | undefined;
  readonly code: number | null;
  readonly signal: string | null;
  readonly reason: string;
};

export type WorkerProcessOptions = {
  readonly services: SharedServices;
  readonly passOn: LogSink['passOn'];
  readonly logger: Pick<Logger, 'error'>;
  readonly onListening: (address: ListenAddress, workerPid: number | undefined) => void;
  /** The worker has reported what it waits for: its drain has begun. */
  readonly onWaiting: () => void;
  readonly onExit: (exit: WorkerExit) => void;
};

export type WorkerProcess = {
  isListening(): boolean;
  /** The requests in progress, during the drain; null: not known yet. */
  waiting(): WaitingRequests | null;
  reopenLogs(): void;
  /** Lets requests in progress finish for `graceMs` milliseconds; resolves when the worker has ended. */
  stop(graceMs: number): Promise<void>;
  kill(): Promise<void>;
};

/** Sets up how workers are started; call it once, before the first. */
export function setUpWorkers(): void {
  // All accept from one socket. With SCHED_RR, a connection that arrives as the last worker closes would be lost.
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({
    exec: fileURLToPath(new URL('./worker.js', import.meta.url)),
    args: [],
    // Their log lines come here, to be written by one process: no line is torn, and a write holds many.
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
}

/**
 * Starts a worker and connects it to the services. @throws Error when no process can be created (ENOMEM); other
 * failures are exits.
 */
export function startWorkerProcess(options: WorkerProcessOptions): WorkerProcess {
  const { services, passOn, logger } = options;
  const worker = cluster.fork();
  const { process: child } = worker;
  const logged = child.stdout ? passOn(child.stdout) : Promise.resolve();
  const member = createMember(worker, logger);
  let isReady = false;
  let isListening = false;
  let waiting: WaitingRequests | null = null;
  let reason = '';

  worker.on('message', (message: FromWorker) => {
    switch (message.kind) {
      case 'ready':
        isReady = true;
        services.join(member);
        break;
      case 'listening':
        isListening = true;
        services.listening(member);
        options.onListening(message.address, child.pid);
        break;
      case 'failed':
        reason = message.sentence;
        break;
      case 'waiting':
        ({ waiting } = message);
        options.onWaiting();
        break;
      default:
        services.receive(member, message);
        break;
    }
  });
  // A worker that does not learn of writes must not answer anything.
  worker.on('disconnect', () => void child.kill('SIGKILL'));
  worker.on('error', (error) => {
    reason = `A worker process failed: ${error.message}.`;
    // Node emits no 'exit' for a process that could not be started (no memory, no process left, no program).
    if (child.pid === undefined) child.emit('exit', child.exitCode, null);
  });
  worker.on('exit', (code: number | null, signal: string | null) => {
    services.leave(member);
    options.onExit({ workerPid: child.pid, code, signal: signal === '' ? null : signal, reason });
  });

  const kill = async (): Promise<void> => {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  return {
    isListening: () => isListening,
    waiting: () => waiting,
    // A worker that is not ready has no files yet, and would start the debugger on the signal.
    reopenLogs: () => {
      if (isReady) child.kill('SIGUSR1');
    },
    kill,
    stop: async (graceMs) => {
      if (!isListening) return kill();
      const gone = once(worker, 'exit');
      const impatient = setTimeout(() => child.kill('SIGKILL'), graceMs + endLimitMs);
      sendTo(worker, { kind: 'stop', graceMs });
      await gone;
      clearTimeout(impatient);
      await Promise.race([logged, wait(lastLinesMs, undefined, { ref: false })]);
    },
  };
}

function createMember(worker: Worker, logger: Pick<Logger, 'error'>): WorkerMember {
  const { process: child } = worker;
  return {
    send: (message) => sendTo(worker, message),
    freeze: (repository, id) => sendTo(worker, { kind: 'freeze', id, repository }),
    thaw: (repository, id) => sendTo(worker, { kind: 'thaw', id, repository }),
    giveUp: () => {
      if (child.killed) return;
      logger.error({ workerPid: child.pid }, 'a worker process does not answer: it is killed');
      child.kill('SIGKILL');
    },
  };
}

/** A worker that has just died gets nothing; its exit event follows. */
function sendTo(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message, undefined, undefined, () => {});
}
