import { execFile } from 'node:child_process';
import type { Logger } from 'pino';

/** What the service manager that started this process is told, where there is one that listens (sd_notify(3)). */
export type ServiceManager = {
  /** It serves; also at the end of a reload. */
  ready(): void;
  reloading(): void;
  stopping(): void;
};

export type ServiceManagerOptions = {
  readonly env: NodeJS.ProcessEnv;
  readonly pid: number;
  readonly logger: Pick<Logger, 'debug'>;
};

/** One message has so much time, in milliseconds; the manager that does not take it by then will hear the next. */
const timeoutMs = 5000;

/**
 * Tells systemd by the program `systemd-notify`, since Node has no datagram sockets of the kind that NOTIFY_SOCKET names. The unit
 * needs `NotifyAccess=all`: the program is a process of its own. A message that cannot be sent is no reason not to serve.
 */
export function createServiceManager({ env, pid, logger }: ServiceManagerOptions): ServiceManager {
  if (!env['NOTIFY_SOCKET']) return { ready: () => {}, reloading: () => {}, stopping: () => {} };

  /** One after the other: the order is part of what is said. */
  let last = Promise.resolve();
  const tell = (...assignments: string[]): Promise<void> => {
    last = last.then(
      () =>
        new Promise((resolve) => {
          execFile('systemd-notify', assignments, { env, timeout: timeoutMs }, (error) => {
            if (error) logger.debug({ reason: error.message }, 'the service manager was not told');
            resolve();
          });
        }),
    );
    return last;
  };

  // Half of what is allowed, as sd_watchdog_enabled(3) advises. A timer of this thread shows that it does not hang.
  const watchdogMs = Number(env['WATCHDOG_USEC'] ?? 0) / 2000;
  const isOurs = env['WATCHDOG_PID'] === undefined || env['WATCHDOG_PID'] === String(pid);
  // One at a time: on a machine where the program takes longer than the interval, a queue of them would hold up what comes after.
  let isShowingLife = false;
  const showLife = async () => {
    if (isShowingLife) return;
    isShowingLife = true;
    await tell('WATCHDOG=1');
    isShowingLife = false;
  };
  if (watchdogMs > 0 && isOurs) setInterval(() => void showLife(), watchdogMs).unref();

  return {
    ready: () => void tell('READY=1'),
    // The clock is CLOCK_MONOTONIC, as Type=notify-reload asks for.
    reloading: () => void tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    stopping: () => void tell('STOPPING=1'),
  };
}
