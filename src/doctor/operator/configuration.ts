import { loadConfig, type ConfigSources, type LoadedConfig } from '../../config/load/load.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { broken, count, ok, skipped, type Finding } from '../finding.ts';

/** The configuration, if it exists and is valid. */
export type FoundConfiguration = { readonly finding: Finding; readonly loaded: LoadedConfig | null };

const maxNamed = 5;

/** Loads the configuration like `serve`. Without a file and settings, it is checked only if `isNeeded`. */
export async function findConfiguration(
  sources: ConfigSources,
  isNeeded: boolean,
): Promise<FoundConfiguration> {
  try {
    const loaded = await loadConfig(sources);
    const { configPath, settings, flavor } = loaded;
    if (configPath === null && settings.size === 0 && !isNeeded) {
      return {
        finding: skipped(
          'config',
          'There is no configuration here, so the checks as an operator are skipped.',
          'run it on the server too, in the folder of the service or with --config FILE',
        ),
        loaded: null,
      };
    }
    const where = configPath ?? 'the defaults, environment and flags';
    return {
      finding: ok(
        'config',
        `The configuration is valid: ${where}${flavor === null ? '' : `, flavor ${flavor}`}.`,
      ),
      loaded,
    };
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return { finding: judgeProblems(error.message, sources.configPath), loaded: null };
  }
}

/** Judges the problems of loading a configuration, one per line. */
export function judgeProblems(message: string, configPath: string | undefined): Finding {
  const problems = message.split('\n');
  const named = problems.slice(0, maxNamed).join(' | ');
  const more = problems.length > maxNamed ? ` | and ${problems.length - maxNamed} more` : '';
  const what = `The configuration has ${count(problems.length, 'problem')}: ${named}${more}`;
  return broken(
    'config',
    what.endsWith('.') ? what : `${what}.`,
    `correct what is named, until this says ok: tidegate config check${configPath === undefined ? '' : ` --config ${configPath}`}`,
  );
}
