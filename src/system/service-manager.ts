import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Logger } from 'pino';

/** Notifications to the service manager that started this process, if any listens (sd_notify(3)). */
export type ServiceManager = {
  /** Tidegate serves; also sent at the end of a reload. */
  ready(): void;
  reloading(): void;
  stopping(): void;
};

export type ServiceManagerOptions = {
  readonly env: NodeJS.ProcessEnv;
  readonly pid: number;
  readonly logger: Pick<Logger, 'debug'>;
};

/** The time limit of one message, in milliseconds; after it the next message follows. */
const maxTimeoutMs = 5000;

/**
 * Notifies systemd through the program `systemd-notify`, since Node has no datagram sockets as NOTIFY_SOCKET needs. The
 * unit needs `NotifyAccess=all`, because the program is another process. A failed message does not stop Tidegate.
 */
export function createServiceManager({ env, pid, logger }: ServiceManagerOptions): ServiceManager {
  if (!env['NOTIFY_SOCKET']) return { ready: () => {}, reloading: () => {}, stopping: () => {} };

  // A quarter of the allowed interval: half, as sd_watchdog_enabled(3) advises, would forgive no lost message. A timer of
  // this thread proves that it does not hang.
  const watchdogMs = Number(env['WATCHDOG_USEC'] ?? 0) / 4000;
  const isOurs = env['WATCHDOG_PID'] === undefined || env['WATCHDOG_PID'] === String(pid);
  const showsLife = watchdogMs > 0 && isOurs;
  // A hanging message must not delay the next watchdog message beyond the manager's limit.
  const timeoutMs = showsLife ? Math.min(maxTimeoutMs, Math.ceil(watchdogMs)) : maxTimeoutMs;

  /** Sent one at a time: the order matters. */
  let last = Promise.resolve();
  const tell = (...assignments: string[]): Promise<void> => {
    last = last
      .then(() => notify(assignments, env, timeoutMs))
      .catch((error: unknown) =>
        logger.debug({ reason: (error as Error).message }, 'the service manager could not be notified'),
      );
    return last;
  };

  // At most one in the queue: if the program takes longer than the interval, more would delay later messages.
  let isShowingLife = false;
  const showLife = async () => {
    if (isShowingLife) return;
    isShowingLife = true;
    await tell('WATCHDOG=1');
    isShowingLife = false;
  };
  if (showsLife) setInterval(() => void showLife(), watchdogMs).unref();

  return {
    ready: () => void tell('READY=1'),
    // CLOCK_MONOTONIC, as Type=notify-reload requires.
    reloading: () => void tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    stopping: () => void tell('STOPPING=1'),
  };
}

/** Runs the program, and waits only for its exit, for a limited time. @throws Error when it cannot be run, or fails. */
async function notify(
  assignments: readonly string[],
  env: NodeJS.ProcessEnv,
  timeoutMs: number,
): Promise<void> {
  // May also throw directly, for a link to itself or without memory.
  const program = spawn('systemd-notify', assignments, {
    env,
    stdio: 'ignore',
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const [code, signal] = (await once(program, 'exit')) as [number | null, NodeJS.Signals | null];
  if (code !== 0) throw new Error(`systemd-notify ended with ${code ?? signal ?? 'nothing'}`);
}
