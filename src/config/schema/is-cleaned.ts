import type { Config } from './schema.ts';

/** Whether the registry can be cleaned up: its files are on this machine, or its own collector is known. */
export function isCleaned({ upstream, clean }: Pick<Config, 'upstream' | 'clean'>): boolean {
  return upstream.storage !== null || clean.collector.length > 0;
}
