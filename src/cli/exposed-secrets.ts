import type { LoadedConfig } from '../config/load/load.ts';
import { formatVariableName } from '../config/load/environment.ts';
import { configKeys } from '../config/schema/key-list.ts';
import { readMembers } from '../config/schema/types/members.ts';

/** Lists secrets given by `--set`, which every user of the machine sees in the process list, a line each. */
export function findExposedSecrets({ settings }: Pick<LoadedConfig, 'settings'>): string[] {
  return [...settings].flatMap(([path, { place, value }]) => {
    const key = configKeys.get(path);
    const isSecret =
      key?.isSecret === true
        ? value !== null
        : readMembers(value, key?.secretMembers ?? []).some((secret) => secret !== null);
    if (place !== '--set' || !isSecret) return [];
    return [
      `--set: ${path}: every user of this machine can read a command line: set ${formatVariableName(path)} instead, or the key in a file.`,
    ];
  });
}
