import { lintRules } from '../../clean/rules/rule-lint.ts';
import type { LoadedConfig } from '../../config/load/load.ts';
import { printable } from '../../telemetry/log/printable.ts';
import { findPlace } from '../policy/policy-warnings.ts';

const shortGraceMs = 3_600_000;

/** Lists likely mistakes in the keys of the clean-up, a line each with file and line. */
export function findCleanWarnings(loaded: Pick<LoadedConfig, 'config' | 'settings'>): string[] {
  const { grace, rules } = loaded.config.clean;
  const lines = lintRules(rules).map(({ path, sentence }) =>
    printable(`${findPlace(loaded, ['clean.rules', ...path])}: clean.rules: ${sentence}.`),
  );
  if (grace < shortGraceMs)
    lines.push(
      `${findPlace(loaded, ['clean.grace'])}: clean.grace: is under 1h: a push under way during a run may have to send a layer again.`,
    );
  return lines;
}
