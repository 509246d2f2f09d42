import { open } from 'node:fs/promises';
import { devNull } from 'node:os';
import type { Logger } from 'pino';

export type DescriptorWatch = { close(): void };

/** How often it is looked whether there is a descriptor, in milliseconds. */
const lookMs = 1000;
/** How often in a row there must be one until that is said: the last one comes and goes with every request. */
const calmLooks = 5;

/**
 * Says when this process has no file descriptor left, and when it has again. Nobody else would: the event loop then closes new connections
 * before anything of ours hears of them, and what fails besides fails each in its own words.
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
