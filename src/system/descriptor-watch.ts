import { open } from 'node:fs/promises';
import { devNull } from 'node:os';
import type { Logger } from 'pino';

export type DescriptorWatch = { close(): void };

/** How often to check whether there is a descriptor, in milliseconds. */
const lookMs = 1000;
/** How many checks in a row must find one before it is logged: the last one comes and goes with every request. */
const calmLooks = 5;

/**
 * Logs when this process has no file descriptor left, and when it has some again. Nothing else reports it: the event
 * loop closes new connections before Tidegate sees them, and other operations fail each in their own way.
 */
export function watchDescriptors(logger: Pick<Logger, 'error' | 'info'>): DescriptorWatch {
  let isShort = false;
  let calm = 0;
  let closed = false;

  const look = async (): Promise<void> => {
    const code = await open(devNull).then(
      (file) => file.close().then(() => null),
      (error: unknown) => (error as NodeJS.ErrnoException).code,
    );
    if (closed) return;
    if (code === 'EMFILE' || code === 'ENFILE') {
      calm = 0;
      if (isShort) return;
      isShort = true;
      logger.error(
        { reason: code },
        'no file descriptor is left: new connections are closed until there is one; allow more (LimitNOFILE in the unit, ulimit -n), or fewer limits.connections',
      );
      return;
    }
    calm += 1;
    if (!isShort || calm < calmLooks) return;
    isShort = false;
    logger.info('there are file descriptors again');
  };

  const schedule = (): NodeJS.Timeout =>
    setTimeout(() => {
      void look().finally(() => {
        if (!closed) timer = schedule();
      });
    }, lookMs).unref();
  let timer = schedule();

  return {
    close: () => {
      closed = true;
      clearTimeout(timer);
    },
  };
}
