import cluster from 'node:cluster';
import { createApp, type App } from '../../app/app.ts';
import { type PreparedState } from '../../app/served-state.ts';
import { keepsInventory } from '../../config/schema/keeps-inventory.ts';
import { createLogger, type LogSink } from '../../telemetry/log/logger.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { createRepositoryActivity } from '../../locks/repository-activity.ts';
import { createLockClient } from '../lock-client.ts';
import { createCleanTasks } from '../clean/clean-tasks.ts';
import { createInventoryChannel } from '../inventory-channel.ts';
import { createUsageChannel } from '../usage-channel.ts';
import type { FromWorker, ToWorker } from './messages.ts';
import { createWorkerChannel } from './worker-channel.ts';

/*
 * A worker process: a whole Tidegate, started and stopped by the primary process. When that dies, this one ends at once
 * (through node:cluster): it would not learn of the others' writes, and another Tidegate may serve already.
 */

// Terminals and service managers signal every process. The primary process forwards their meaning.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'] as const) process.on(signal, () => {});

// A message cannot be sent: the primary process is gone, which this process has not noticed yet.
cluster.worker?.on('error', () => process.exit(1));

const send = (message: FromWorker, sent?: () => void) =>
  void process.send?.(message, undefined, undefined, sent);
const ipc = createWorkerChannel(send);
const lockChannels = {
  tags: createLockClient('tags', send),
  deletes: createLockClient('deletes', send),
};
const usage = createUsageChannel(send);
const inventory = createInventoryChannel(send);
const activity = createRepositoryActivity();
const cleanTasks = createCleanTasks(send, async (task, signal) => {
  await started;
  if (!running) throw new Error('this worker process does not serve');
  return running.app.performCleanTask(task, signal);
});
let running: { app: App; exit: LogSink['exit'] } | undefined;
let started = Promise.resolve();
let prepared: PreparedState | undefined;
/** How often it reports what it waits for during the drain, in milliseconds. */
const waitingIntervalMs = 1000;

process.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'start':
      started = start(message);
      break;
    case 'prepare':
      void prepare(message);
      break;
    case 'commit':
      prepared?.commit();
      prepared = undefined;
      send({ kind: 'committed' });
      break;
    case 'abandon':
      void prepared?.abandon();
      prepared = undefined;
      break;
    case 'stop':
      void stop(message.graceMs);
      break;
    case 'challenges':
      void started.then(() => {
        running?.app.answerChallenges(message.challenges);
        send({ kind: 'acknowledged', number: message.number });
      });
      break;
    case 'check':
      send({ kind: 'acknowledged', number: message.number });
      break;
    case 'report':
      void running?.app.report().then((report) => send({ kind: 'report', report }));
      break;
    case 'lock-answer':
    case 'lock-lost':
      lockChannels[message.of].receive(message);
      break;
    case 'freeze': {
      const { id, repository } = message;
      activity.freeze(repository, id, () => send({ kind: 'quiet', id }));
      break;
    }
    case 'thaw':
      activity.thaw(message.repository, message.id);
      break;
    case 'clean-ask':
    case 'clean-stop':
      cleanTasks.receive(message);
      break;
    case 'usage-taken':
      usage.taken();
      break;
    case 'inventory-answer':
      inventory.receive(message);
      break;
    case 'notice':
    case 'delivered':
      ipc.receive(message);
      break;
  }
});
send({ kind: 'ready' });

async function start(message: Extract<ToWorker, { kind: 'start' }>): Promise<void> {
  const { state, underWay, logins } = message;
  for (const change of underWay) ipc.act({ topic: 'write', body: { phase: 'begin', change } });
  for (const body of logins) ipc.act({ topic: 'login', body });
  const { log } = state.config;
  // The primary process formats what comes from standard output.
  const format = log.format === 'pretty' ? 'json' : log.format;
  const { logger, exit } = await createLogger({ ...log, format, isShared: true, isRequired: false });
  try {
    const app = await createApp({
      ...{ ...state, logger, ipc },
      loginKey: Buffer.from(message.loginKey, 'base64'),
      sessionSecret: Buffer.from(message.sessionSecret, 'base64'),
      locks: lockChannels.tags.locks,
      deletes: { activity, locks: lockChannels.deletes.locks, peers: () => null },
      usage: state.config.state.usage ? usage : null,
      lists: keepsInventory(state.config) ? inventory.lists : null,
    });
    app.answerChallenges(message.challenges);
    running = { app, exit };
    send({ kind: 'listening', address: app.address });
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    send({ kind: 'failed', sentence: error.message }, () => void exit(1));
  }
}

async function prepare({ state, rereads }: Extract<ToWorker, { kind: 'prepare' }>): Promise<void> {
  await started;
  try {
    prepared = await running?.app.prepare(state, { rereads });
    send({ kind: 'prepared', sentence: null, changed: prepared?.changed ?? [] });
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    send({ kind: 'prepared', sentence: error.message, changed: [] });
  }
}

async function stop(graceMs: number): Promise<void> {
  if (!running) return;
  const { app, exit } = running;
  const closed = app.close({ graceMs });
  const report = () => send({ kind: 'waiting', waiting: app.waiting() });
  report();
  setInterval(report, waitingIntervalMs).unref();
  await closed;
  await exit(0);
}
