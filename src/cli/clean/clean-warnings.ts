import type { LoadedConfig } from '../../config/load/load.ts';
import { findPlace } from '../policy/policy-warnings.ts';

const shortGraceMs = 3_600_000;

/** Lists likely mistakes in the keys of the clean-up, a line each with file and line. */
export function findCleanWarnings(loaded: Pick<LoadedConfig, 'config' | 'settings'>): string[] {
  const { clean } = loaded.config;
  if (clean.grace >= shortGraceMs) return [];
  return [
    `${findPlace(loaded, ['clean.grace'])}: clean.grace: is under 1h: a push under way during a run may have to send a layer again.`,
  ];
}
