import type { Command } from 'commander';
import { loadConfig, type LoadedConfig } from '../../config/load/load.ts';
import { printable } from '../../telemetry/log/printable.ts';
import { createJudge, type Judge } from '../../policy/judgement.ts';
import { readConfigOptions } from '../config.ts';
import { findPlace } from './policy-warnings.ts';

/** The configured policy, and what messages about it need. */
export type LoadedPolicy = LoadedConfig & {
  readonly judge: Judge;
  /** Names a rule, as `rule 3 (tidegate.yml:12)`, counted from 1; or says that there is none. */
  readonly nameRule: (rule: number | null) => string;
};

/**
 * Loads the configuration of the options of addConfigOptions, and says so if it has no policy. @throws OperatorError
 * when it is not valid.
 */
export async function loadPolicy(command: Command): Promise<LoadedPolicy> {
  const loaded = await loadConfig(readConfigOptions(command));
  const judge = createJudge(loaded.config);
  if (!judge.hasRules)
    printLines([
      'There is no policy: every verified user may pull, push and delete everything, a machine token what its scopes allow, and a client without credentials nothing.',
    ]);
  const nameRule = (rule: number | null) => {
    if (rule === null) return judge.hasRules ? 'no rule' : 'no policy';
    return `rule ${rule} (${findPlace(loaded, ['policy', rule - 1])})`;
  };
  return { ...loaded, judge, nameRule };
}

/** Prints lines that may contain foreign names. */
export function printLines(lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${printable(line)}\n`).join(''));
}
