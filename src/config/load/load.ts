import path from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import { readConfigFile } from './config-file.ts';
import { readEnvironment } from './environment.ts';
import { chooseFlavor } from './flavor.ts';
import { configKeys, explainUnknownKey } from '../schema/key-list.ts';
import { formatProblem, type Problem } from './problem.ts';
import type { Config } from '../schema/schema.ts';
import { parseText, type Setting } from './setting.ts';
import { validateSettings } from './validate.ts';

/** Where a configuration comes from; `set` holds `key.path=value` flags, `cwd` is absolute. */
export type ConfigSources = {
  readonly configPath: string | undefined;
  readonly flavor: string | undefined;
  readonly set: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
};

/** A checked configuration and its origin. */
export type LoadedConfig = {
  readonly config: Config;
  /** Absolute; null when there is no file. */
  readonly configPath: string | null;
  /** Whether the file is empty, without even a comment. */
  readonly isEmpty: boolean;
  /** The base folder of relative paths; absolute. */
  readonly baseDir: string;
  /** Null when the file has no flavors. */
  readonly flavor: string | null;
  /** The keys that file, environment or flags set, by key path. */
  readonly settings: ReadonlyMap<string, Setting>;
};

/** The most problems that are shown. */
const maxProblems = 50;

/** Reads file, environment and flags (later wins); throws one OperatorError that names every problem, a line each. */
export async function loadConfig(sources: ConfigSources): Promise<LoadedConfig> {
  const { env, cwd } = sources;
  const file = await readConfigFile(sources.configPath, cwd, chooseFlavor(sources.flavor, env), env);
  const environment = readEnvironment(env);
  const flags = readFlags(sources.set);
  const settings = new Map(file.settings);
  for (const [key, { variable, text }] of environment.values)
    addText(key, text, variable, settings, environment.problems);
  for (const [key, setting] of flags.settings) settings.set(key, setting);

  const baseDir = findBaseDir(file.configPath, cwd);
  const { config, problems } = validateSettings(settings, baseDir);
  const all = [
    ...file.problems,
    ...environment.problems,
    ...flags.problems,
    ...problems,
    ...(config === undefined ? [] : findSecondCertificate(config, settings)),
  ];
  if (config === undefined || all.length > 0) throw new OperatorError(formatProblems(all));
  const { configPath, isEmpty, flavor } = file;
  return { config, configPath, isEmpty, baseDir, flavor, settings };
}

function readFlags(flags: readonly string[]): { settings: Map<string, Setting>; problems: Problem[] } {
  const settings = new Map<string, Setting>();
  const problems: Problem[] = [];
  for (const flag of flags) {
    const [, key = flag, text] = /^([^=]*)=(.*)$/s.exec(flag) ?? [];
    const place = '--set';
    if (text === undefined) problems.push({ place, key, wrong: 'has no value: write KEY=VALUE' });
    else if (configKeys.has(key)) addText(key, text, place, settings, problems);
    else problems.push({ place, key, wrong: explainUnknownKey(key) });
  }
  return { settings, problems };
}

function addText(
  key: string,
  text: string,
  place: string,
  settings: Map<string, Setting>,
  problems: Problem[],
): void {
  try {
    settings.set(key, { place, value: parseText(key, text) });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const allowed = configKeys.get(key)?.allowed;
    problems.push({ place, key, wrong: error.message, ...(allowed === undefined ? {} : { allowed }) });
  }
}

/** A certificate of a CA by ACME and one of the operator's own: one of them would not be used. */
function findSecondCertificate({ tls }: Config, settings: ReadonlyMap<string, Setting>): Problem[] {
  if (tls.acme.hosts.length === 0) return [];
  return ['tls.cert', 'tls.key'].flatMap((key) => {
    const setting = settings.get(key);
    const wrong =
      'is set beside tls.acme.hosts, with which Tidegate orders the certificate itself: remove one';
    return setting === undefined ? [] : [{ place: setting.place, key, wrong }];
  });
}

/** A file in a folder named `config` belongs to the folder above it. */
function findBaseDir(configPath: string | null, cwd: string): string {
  if (configPath === null) return cwd;
  const folder = path.dirname(configPath);
  return path.basename(folder) === 'config' ? path.dirname(folder) : cwd;
}

function formatProblems(problems: readonly Problem[]): string {
  // The file's problems in the order of its lines, then those of environment and flags.
  const lineOf = ({ place }: Problem) => Number(/:(\d+)$/.exec(place)?.[1] ?? Number.MAX_SAFE_INTEGER);
  const sorted = problems.toSorted((a, b) => lineOf(a) - lineOf(b));
  const lines = sorted.slice(0, maxProblems).map(formatProblem);
  const hidden = problems.length - lines.length;
  return [...lines, ...(hidden > 0 ? [`… and ${hidden} more problems`] : [])].join('\n');
}
