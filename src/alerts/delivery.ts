import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Alert, Channel } from './alert.ts';

/** Sends alerts through one channel, one at a time, in the background. */
export type Delivery = {
  /** Queues an alert, unless too many wait. Never throws. */
  add(alert: Alert): void;
  /** Stops at once; unsent alerts are dropped. */
  close(): void;
};

export type DeliveryResult = 'sent' | 'failed' | 'dropped';

export type DeliveryOptions = {
  readonly channel: Channel;
  readonly logger: Pick<Logger, 'warn' | 'error' | 'info'>;
  readonly onResult: (channel: Channel['name'], result: DeliveryResult) => void;
  /** How long to wait before each further attempt, in milliseconds. */
  readonly retriesMs?: readonly number[];
};

/** Retry delays for half an hour, in milliseconds: a greylisting mail server accepts about the third attempt. */
const usualRetriesMs = [1000, 10_000, 60_000, 300_000, 600_000, 900_000];
/** The most waiting alerts: there are few kinds of incidents, with two messages each. */
const maxWaiting = 50;

export function createDelivery(options: DeliveryOptions): Delivery {
  const { channel, logger, onResult, retriesMs = usualRetriesMs } = options;
  const queue: Alert[] = [];
  const closing = new AbortController();
  const { signal } = closing;
  let isWorking = false;

  const deliver = async (alert: Alert): Promise<void> => {
    const fields = { channel: channel.name, alert: alert.kind, state: alert.state };
    for (const retryMs of [...retriesMs, null]) {
      try {
        await channel.send(alert);
        onResult(channel.name, 'sent');
        return;
      } catch (error) {
        if (signal.aborted) return;
        const { message: reason } = error as Error;
        if (retryMs === null) {
          onResult(channel.name, 'failed');
          logger.error({ ...fields, reason }, 'an alert could not be sent');
        } else {
          logger.warn({ ...fields, reason, retryMs }, 'an alert could not be sent: it is tried again');
          await delay(retryMs, undefined, { signal, ref: false });
        }
      }
    }
  };
  const work = async (): Promise<void> => {
    isWorking = true;
    for (let alert = queue[0]; alert && !signal.aborted; alert = queue[0]) {
      await deliver(alert).catch(() => {}); // the wait was ended by close
      queue.shift();
    }
    isWorking = false;
  };

  return {
    add: (alert) => {
      if (signal.aborted) return;
      if (queue.length >= maxWaiting) {
        onResult(channel.name, 'dropped');
        logger.error(
          { channel: channel.name, alert: alert.kind, state: alert.state },
          'an alert was dropped: too many wait to be sent',
        );
        return;
      }
      queue.push(alert);
      if (!isWorking) void work();
    },
    close: () => closing.abort(),
  };
}
