import { join } from 'node:path';
import { launch, supervise } from './child-process.ts';
import type { FoundRegistry } from './registry/registry-starter.ts';

export type StartCleanerOptions = {
  /** The folder of the checkout. */
  readonly root: string;
  readonly registry: Pick<FoundRegistry, 'url' | 'storage' | 'isStarted'>;
  readonly warn: (sentence: string) => void;
};

/**
 * Runs the cleaner beside a registry that was started here, whose files are this user's. Gives what ends it; it ends with
 * this process as well.
 */
export function startCleaner({ root, registry, warn }: StartCleanerOptions): () => Promise<void> {
  const { url, storage, isStarted } = registry;
  if (!isStarted || storage === null) return () => Promise.resolve();
  const settings = [`upstream.url=${url}`, `upstream.storage=${storage}`];
  const command = {
    program: process.execPath,
    args: [
      ...[join(root, 'dist/main.js'), 'clean', 'serve'],
      ...settings.flatMap((setting) => ['--set', setting]),
    ],
  };
  const logPath = join(root, 'var/clean.log');
  return supervise(launch(command, logPath), { command, name: 'The cleaner of the registry', logPath, warn });
}
