import type { Config } from './schema.ts';

/** Whether the repositories and tags of the registries are kept for the console's lists. */
export function keepsInventory({ console, state }: Pick<Config, 'console' | 'state'>): boolean {
  return console.enabled && state.usage;
}
