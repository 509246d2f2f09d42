import type { LoadedConfig } from '../config/load/load.ts';
import { formatVariableName } from '../config/load/environment.ts';
import { configKeys } from '../config/schema/key-list.ts';

/** Secrets that came by `--set`, where every user of the machine reads them in the list of processes, a line each. */
export function findExposedSecrets({ settings }: Pick<LoadedConfig, 'settings'>): string[] {
  return [...settings].flatMap(([path, { place, value }]) => {
    const key = configKeys.get(path);
    if (place !== '--set' || key?.isSecret !== true || value === null) return [];
    return [
      `--set: ${path}: every user of this machine can read a command line: set ${formatVariableName(path)} instead, or the key in a file.`,
    ];
  });
}
