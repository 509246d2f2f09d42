import type { Logger } from 'pino';
import type { WaitingRequests } from '../telemetry/metrics/waiting-requests.ts';

/** Logs what the drain waits for: at once, and at intervals. */
export type DrainLog = { stop(): void };

const intervalMs = 10_000;

/** @param read returns the requests in progress */
export function createDrainLog(logger: Pick<Logger, 'info'>, read: () => Promise<WaitingRequests>): DrainLog {
  let stopped = false;
  const say = async () => {
    const { count, oldest } = await read();
    if (!stopped && count > 0) logger.info({ count, oldest }, 'waiting for requests under way to end');
  };
  void say();
  const timer = setInterval(() => void say(), intervalMs).unref();
  return {
    stop: () => {
      stopped = true;
      clearInterval(timer);
    },
  };
}
