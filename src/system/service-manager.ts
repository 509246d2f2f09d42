import { spawn } from 'node:child_process';
import { once } from 'node:events';
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

/** The longest time of one message, in milliseconds; the manager that does not take it by then will hear the next. */
const maxTimeoutMs = 5000;

/**
 * Tells systemd by the program `systemd-notify`, since Node has no datagram sockets of the kind that NOTIFY_SOCKET names. The unit
 * needs `NotifyAccess=all`: the program is a process of its own. A message that cannot be sent is no reason not to serve.
 */
export function createServiceManager({ env, pid, logger }: ServiceManagerOptions): ServiceManager {
  if (!env['NOTIFY_SOCKET']) return { ready: () => {}, reloading: () => {}, stopping: () => {} };

  // Half of what is allowed, as sd_watchdog_enabled(3) advises. A timer of this thread shows that it does not hang.
  const watchdogMs = Number(env['WATCHDOG_USEC'] ?? 0) / 2000;
  const isOurs = env['WATCHDOG_PID'] === undefined || env['WATCHDOG_PID'] === String(pid);
  const showsLife = watchdogMs > 0 && isOurs;
  // A message that hangs must not keep the next sign of life back for longer than the manager waits for it.
  const timeoutMs = showsLife ? Math.min(maxTimeoutMs, Math.ceil(watchdogMs)) : maxTimeoutMs;

  /** One after the other: the order is part of what is said. */
  let last = Promise.resolve();
  const tell = (...assignments: string[]): Promise<void> => {
    last = last
      .then(() => notify(assignments, env, timeoutMs))
      .catch((error: unknown) =>
        logger.debug({ reason: (error as Error).message }, 'the service manager could not be notified'),
      );
    return last;
  };

  // One at a time: on a machine where the program takes longer than the interval, a queue of them would hold up what comes after.
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
    // The clock is CLOCK_MONOTONIC, as Type=notify-reload asks for.
    reloading: () => void tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    stopping: () => void tell('STOPPING=1'),
  };
}

/** Runs the program. Nothing of it is waited for but its end, and it ends in time. @throws Error when it cannot be run, or has not told. */
async function notify(
  assignments: readonly string[],
  env: NodeJS.ProcessEnv,
  timeoutMs: number,
): Promise<void> {
  // Also throws by itself, such as for a link that leads to itself, or without memory.
  const program = spawn('systemd-notify', assignments, {
    env,
    stdio: 'ignore',
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const [code, signal] = (await once(program, 'exit')) as [number | null, NodeJS.Signals | null];
  if (code !== 0) throw new Error(`systemd-notify ended with ${code ?? signal ?? 'nothing'}`);
}
