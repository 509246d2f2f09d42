import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import type { Config } from '../config/schema.ts';
import { OperatorError } from '../operator-error.ts';
import { createBackOff, type BackOff } from './back-off.ts';
import type { FrontDoor } from './front-door.ts';
import type { Address, FromWorker, ToWorker } from './messages.ts';
import { createNoticeRelay, type Member } from './notice-relay.ts';
import { shareConfig } from './worker-share.ts';

/**
 * How long a worker may take to act on a write through another, in milliseconds. One that hangs for longer is killed, and only
 * then the write goes on: else it could answer older manifests later.
 */
const actLimitMs = 5000;
/** How much longer than the transfers under way a worker may take to end, in milliseconds. */
const endLimitMs = 5000;

/** What a worker says once it listens. */
type Opened = { readonly address: Address; readonly names: readonly string[] };

/**
 * Starts the workers, replaces one that dies, and passes on what they tell each other. They share one listening socket.
 * @throws OperatorError when one of them cannot start: then all are ended.
 */
export async function openWorkers({
  config,
  logger,
}: {
  config: Config;
  logger: Logger;
}): Promise<FrontDoor> {
  const now = () => performance.now();
  const share = shareConfig(config);
  const relay = createNoticeRelay({ limitMs: actLimitMs, now });
  const workers = new Map<Worker, { listens: boolean }>();
  const restarts = new Set<NodeJS.Timeout>();
  let state: 'starting' | 'serving' | 'stopping' = 'starting';
  // All accept from one socket. Dealt out by this process (SCHED_RR), a connection that comes as the last worker closes would be lost.
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({ exec: fileURLToPath(new URL('./worker.js', import.meta.url)), args: [] });

  /** Starts a worker. The promise is for the first start alone: it rejects when this one ends before it listens. */
  const startWorker = (backOff: BackOff): Promise<Opened> => {
    const worker = cluster.fork();
    const { process: child } = worker;
    const status = { listens: false };
    workers.set(worker, status);
    const member: Member = {
      send: (message) => sendTo(worker, message),
      giveUp: () => {
        logger.error({ workerPid: child.pid }, 'a worker process does not answer: it is killed');
        child.kill('SIGKILL');
      },
    };
    let sentence = '';
    const opened = new Promise<Opened>((resolve, reject) => {
      worker.on('message', (message: FromWorker) => {
        switch (message.kind) {
          case 'ready':
            member.send({ kind: 'start', config: share, underWay: relay.join(member) });
            break;
          case 'listening':
            status.listens = true;
            backOff.started();
            if (state === 'serving') logger.info({ workerPid: child.pid }, 'a worker process is listening');
            resolve(message);
            break;
          case 'failed':
            ({ sentence } = message);
            break;
          case 'tell':
            relay.tell(member, message.number, message.notice);
            break;
          case 'noted':
            relay.noted(member, message.number);
            break;
        }
      });
      // One that cannot be told of writes must not answer anything.
      worker.on('disconnect', () => void child.kill('SIGKILL'));
      worker.on('error', (error) => (sentence = `A worker process failed: ${error.message}.`));
      worker.on('exit', (code, signal) => {
        workers.delete(worker);
        relay.leave(member);
        const cause = signal ? `by ${signal}` : `with exit code ${code}`;
        if (state === 'starting')
          reject(new OperatorError(sentence || `A worker process ended ${cause} before it was listening.`));
        if (state !== 'serving') return;
        const retryMs = backOff.ended();
        logger.error(
          {
            workerPid: child.pid,
            code,
            signal: signal || null,
            retryMs,
            ...(sentence && { reason: sentence }),
          },
          'a worker process has ended: another takes its place',
        );
        const restart = setTimeout(() => {
          restarts.delete(restart);
          void startWorker(backOff).catch(() => {});
        }, retryMs);
        restarts.add(restart);
      });
    });
    return opened;
  };

  const kill = async ({ process: child }: Worker): Promise<void> => {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };

  const close: FrontDoor['close'] = async ({ graceMs }) => {
    logger.info({ workers: workers.size, graceMs }, 'shutting down');
    state = 'stopping';
    for (const restart of restarts) clearTimeout(restart);
    await Promise.all(
      [...workers].map(async ([worker, { listens }]) => {
        if (!listens) return kill(worker);
        const gone = once(worker, 'exit');
        const impatient = setTimeout(() => worker.process.kill('SIGKILL'), graceMs + endLimitMs);
        sendTo(worker, { kind: 'stop', graceMs });
        await gone;
        clearTimeout(impatient);
      }),
    );
  };

  try {
    const opened = Array.from({ length: config.workers }, () => startWorker(createBackOff(now)));
    const [first] = await Promise.all(opened);
    if (!first) throw new Error('there are no workers');
    state = 'serving';
    return { ...first, close };
  } catch (error) {
    state = 'stopping';
    await Promise.all([...workers.keys()].map(kill));
    throw error;
  }
}

/** A worker that has just died is not told; its end is on its way. */
function sendTo(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message, undefined, undefined, () => {});
}
