import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import type { ServedState } from '../app/served-state.ts';
import { createHashKey } from '../auth/keyed-hash.ts';
import { createSessionSecret } from '../app/session-secret.ts';
import type { Config } from '../config/schema/schema.ts';
import type { LogSink } from '../telemetry/log/logger.ts';
import { joinWaiting, type WaitingRequests } from '../telemetry/metrics/waiting-requests.ts';
import { OperatorError } from '../system/operator-error.ts';
import { createBackOff, type BackOff } from './back-off.ts';
import { createLockServer } from './lock-server.ts';
import type { Address, FromWorker, ToWorker } from './messages.ts';
import { openDeleteTurns } from '../app/open-deletes.ts';
import { createFreezer, type FreezeMember } from '../locks/repository-freezer.ts';
import { createRepositoryLocks } from '../locks/repository-locks.ts';
import { createSharedRedis } from '../redis/open.ts';
import { createWorkerBroadcast, type BroadcastMember } from './worker-broadcast.ts';
import { createMetricsCollector } from './metrics-collector.ts';
import type { Serving } from './serving.ts';
import { createReloadCoordinator } from './reload-coordinator.ts';
import { divideLimits } from './divided-limits.ts';

/**
 * How long a worker may take to act on a write through another, in milliseconds. One that hangs for longer is killed, and only
 * then the write goes on: else it could answer older manifests later.
 */
const actLimitMs = 5000;
/** How often each worker is asked for a sign of life, in milliseconds; it has `actLimitMs` to answer. */
const checkIntervalMs = 5000;
/** How long a worker may take to say what it waits for, in milliseconds. */
const waitingLimitMs = 1000;
/** How much longer than the transfers under way a worker may take to end, in milliseconds. */
const endLimitMs = 5000;
/** How long a worker may take to report what it counts; after that its last report counts, in milliseconds. */
const reportLimitMs = 1000;

/** How long the last lines of a worker's log are waited for, when nobody reads the log, in milliseconds. */
const lastLinesMs = 2000;

/** What is known of a worker. `waiting`: the requests under way, once its end has begun. */
type WorkerRecord = {
  isReady: boolean;
  listens: boolean;
  logged: Promise<void>;
  waiting: WaitingRequests | null;
};

/**
 * Starts the workers, replaces one that dies, and passes on what they tell each other. They share one listening socket.
 * @throws OperatorError when one of them cannot start: then all are ended.
 */
export async function openWorkers({
  config,
  pem,
  logger,
  passOn,
}: ServedState & { logger: Logger; passOn: LogSink['passOn'] }): Promise<Serving> {
  const now = () => performance.now();
  warnOfSmallShare(config, logger);
  const broadcast = createWorkerBroadcast({ limitMs: actLimitMs, now });
  const freezer = createFreezer();
  const redis = createSharedRedis(config.cache.redis, pem.redisCa);
  const deletes = await openDeleteTurns({ config, pem, redis, logger }, freezer);
  const locks = {
    tags: createLockServer('tags', createRepositoryLocks()),
    deletes: createLockServer('deletes', deletes.turns),
  };
  const reloads = createReloadCoordinator({ config: divideLimits(config), pem });
  const workers = new Map<Worker, WorkerRecord>();
  const loginKey = createHashKey().toString('base64');
  const sessionSecret = createSessionSecret().toString('base64');
  const restarts = new Set<NodeJS.Timeout>();
  const backOffs = Array.from({ length: config.workers }, () => createBackOff(now));
  const reports = createMetricsCollector<Worker>({
    ask: (worker) => sendTo(worker, { kind: 'report' }),
    limitMs: reportLimitMs,
  });
  let restarted = 0;
  let state: 'starting' | 'serving' | 'stopping' = 'starting';
  // All accept from one socket. Dealt out by this process (SCHED_RR), a connection that comes as the last worker closes would be lost.
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({
    exec: fileURLToPath(new URL('./worker.js', import.meta.url)),
    args: [],
    // Their lines come here, to be written by one process: no line is torn, and a write holds many.
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });

  // Each opens its own log files anew. One that is not ready yet has none, and would take it for the debugger's signal.
  process.on('SIGUSR1', () => {
    for (const [{ process: child }, { isReady }] of workers) if (isReady) child.kill('SIGUSR1');
  });

  const restartLater = (backOff: BackOff, fields: object): void => {
    const retryMs = backOff.ended();
    restarted += 1;
    const crashLoop = backOff.loops();
    logger.error({ ...fields, retryMs, crashLoop }, 'a worker process has ended: another takes its place');
    const restart = setTimeout(() => {
      restarts.delete(restart);
      void startWorker(backOff).catch(() => {});
    }, retryMs);
    restarts.add(restart);
  };

  /** Starts a worker. The promise is for the first start alone: it rejects when this one ends before it listens. */
  const startWorker = (backOff: BackOff): Promise<Address> => {
    let worker: Worker;
    try {
      worker = cluster.fork();
    } catch (error) {
      // Node throws for some reasons (ENOMEM), and emits 'error' for others.
      const reason = (error as Error).message;
      if (state === 'starting')
        return Promise.reject(new OperatorError(`A worker process cannot be started: ${reason}.`));
      restartLater(backOff, { reason });
      return new Promise(() => {});
    }
    const { process: child } = worker;
    const status: WorkerRecord = {
      ...{ isReady: false, listens: false, waiting: null },
      logged: child.stdout ? passOn(child.stdout) : Promise.resolve(),
    };
    workers.set(worker, status);
    const member: BroadcastMember & FreezeMember = {
      send: (message) => sendTo(worker, message),
      freeze: (repository, id) => sendTo(worker, { kind: 'freeze', id, repository }),
      thaw: (repository, id) => sendTo(worker, { kind: 'thaw', id, repository }),
      giveUp: () => {
        if (child.killed) return;
        logger.error({ workerPid: child.pid }, 'a worker process does not answer: it is killed');
        child.kill('SIGKILL');
      },
    };
    let sentence = '';
    const opened = new Promise<Address>((resolve, reject) => {
      worker.on('message', (message: FromWorker) => {
        switch (message.kind) {
          case 'ready':
            status.isReady = true;
            freezer.join(member);
            reloads.join(member, (served) =>
              member.send({
                ...{ kind: 'start', state: served, underWay: broadcast.join(member) },
                ...{ logins: broadcast.logins(), loginKey, sessionSecret },
              }),
            );
            break;
          case 'prepared':
          case 'committed':
            reloads.heard(member, message);
            break;
          case 'waiting':
            status.waiting = message.waiting;
            onWaiting();
            break;
          case 'listening':
            status.listens = true;
            reports.join(worker);
            backOff.started();
            if (state === 'serving') logger.info({ workerPid: child.pid }, 'a worker process is listening');
            resolve(message.address);
            break;
          case 'failed':
            ({ sentence } = message);
            break;
          case 'publish':
            broadcast.publish(member, message.number, message.notice);
            break;
          case 'acknowledged':
            broadcast.acknowledged(member, message.number);
            break;
          case 'report':
            reports.received(worker, message.report);
            break;
          case 'lock':
          case 'unlock':
            locks[message.of].heard(member, message);
            break;
          case 'quiet':
            freezer.quiet(member, message.id);
            break;
        }
      });
      // One that cannot be told of writes must not answer anything.
      worker.on('disconnect', () => void child.kill('SIGKILL'));
      worker.on('error', (error) => {
        sentence = `A worker process failed: ${error.message}.`;
        // Node gives no 'exit' for a process that could not even be started (no memory, no process left, no program).
        if (child.pid === undefined) child.emit('exit', child.exitCode, null);
      });
      worker.on('exit', (code, signal) => {
        workers.delete(worker);
        broadcast.leave(member);
        reloads.leave(member);
        locks.tags.leave(member);
        locks.deletes.leave(member);
        freezer.leave(member);
        reports.leave(worker);
        onWaiting();
        const cause = signal ? `by ${signal}` : `with exit code ${code}`;
        if (state === 'starting')
          reject(new OperatorError(sentence || `A worker process ended ${cause} before it was listening.`));
        if (state !== 'serving') return;
        restartLater(backOff, {
          workerPid: child.pid,
          code,
          signal: signal || null,
          ...(sentence && { reason: sentence }),
        });
      });
    });
    return opened;
  };

  const closeDeletes = async () => {
    await deletes.close();
    await redis.close();
  };
  let checks: NodeJS.Timeout | undefined;
  const kill = async ({ process: child }: Worker): Promise<void> => {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };

  /** Called when a worker has said what it waits for, or is gone. */
  let onWaiting = () => {};
  const waiting: Serving['waiting'] = () =>
    new Promise((resolve) => {
      const known = () => [...workers.values()].flatMap((worker) => worker.waiting ?? []);
      const tell = () => resolve(joinWaiting(known()));
      onWaiting = () => {
        if (known().length === workers.size) tell();
      };
      onWaiting();
      setTimeout(tell, waitingLimitMs).unref(); // one of them hangs
    });

  const close: Serving['close'] = async ({ graceMs }) => {
    logger.info({ workers: workers.size, graceMs }, 'shutting down');
    state = 'stopping';
    for (const restart of restarts) clearTimeout(restart);
    clearInterval(checks);
    await Promise.all(
      [...workers].map(async ([worker, { listens, logged }]) => {
        if (!listens) return kill(worker);
        const gone = once(worker, 'exit');
        const impatient = setTimeout(() => worker.process.kill('SIGKILL'), graceMs + endLimitMs);
        sendTo(worker, { kind: 'stop', graceMs });
        await gone;
        clearTimeout(impatient);
        await Promise.race([logged, wait(lastLinesMs, undefined, { ref: false })]);
      }),
    );
    await closeDeletes();
  };

  try {
    const [address] = await Promise.all(backOffs.map(startWorker));
    if (!address) throw new Error('there are no workers');
    state = 'serving';
    checks = setInterval(() => broadcast.check(), checkIntervalMs).unref();
    return {
      address,
      workers: () => ({
        wanted: config.workers,
        serving: state === 'serving' ? [...workers.values()].filter(({ listens }) => listens).length : 0,
        restarts: restarted,
        crashLoop: backOffs.some((backOff) => backOff.loops()),
      }),
      reports: () => reports.collect(),
      waiting,
      prepare: (next, options) => {
        warnOfSmallShare(next.config, logger);
        return reloads.prepare({ config: divideLimits(next.config), pem: next.pem }, options);
      },
      close,
    };
  } catch (error) {
    state = 'stopping';
    await Promise.all([...workers.keys()].map(kill));
    await closeDeletes();
    throw error;
  }
}

function warnOfSmallShare({ cache, workers }: Config, logger: Logger): void {
  const { maxBytes, maxEntryBytes } = cache;
  if (cache.driver !== 'memory' || Math.floor(maxBytes / workers) >= maxEntryBytes) return;
  logger.warn(
    { workers, maxBytes, maxEntryBytes },
    "a worker's part of cache.maxBytes is less than cache.maxEntryBytes, and larger manifests are not cached: raise cache.maxBytes, or lower workers",
  );
}

/** A worker that has just died is not told; its end is on its way. */
function sendTo(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message, undefined, undefined, () => {});
}
