import { readHtpasswdText } from '../../auth/htpasswd/htpasswd-content.ts';
import { parseHtpasswd } from '../../auth/htpasswd/htpasswd.ts';
import type { Logger } from 'pino';
import type { LoadedConfig } from '../../config/load/load.ts';
import { printable } from '../../telemetry/log/printable.ts';
import { readTokenGrants } from './token-grants.ts';
import type { WhoText } from '../../policy/who.ts';
import { lintPolicy } from '../../policy/policy-lint.ts';

/** Lists likely mistakes in groups and policy, a line each with file and line. */
export async function findPolicyWarnings(
  loaded: Pick<LoadedConfig, 'config' | 'settings'>,
): Promise<string[]> {
  const { config } = loaded;
  if (config.policy === null && Object.keys(config.groups).length === 0) return [];
  const tokens = await readTokenGrants(config);
  const warnings = lintPolicy(config, await readUserNames(config), tokens && new Set(tokens.keys()));
  const lines = warnings.map(({ path, sentence }) =>
    printable(`${findPlace(loaded, path)}: ${path[0] ?? ''}: ${sentence}.`),
  );
  const words = config.policy?.flatMap(({ who }) => who) ?? [];
  const isAnonymous = (word: WhoText) => typeof word === 'string' && /^(?:anonymous$|network:)/.test(word);
  if (words.some(isAnonymous) && config.auth.tokens === 'off')
    lines.push(
      `${findPlace(loaded, ['auth.tokens'])}: auth.tokens: a rule is for clients without credentials, but without tokens Docker cannot pull before a login: set it to auto.`,
    );
  return lines;
}

/** Logs the warnings that were not there the last time. */
export function createPolicyWarner(logger: Pick<Logger, 'warn'>): (warnings: readonly string[]) => void {
  let warned: readonly string[] = [];
  return (warnings) => {
    for (const warning of warnings) if (!warned.includes(warning)) logger.warn(warning);
    warned = warnings;
  };
}

/** The users who can log in; null where the htpasswd file cannot be read. */
export async function readUserNames({ auth }: LoadedConfig['config']): Promise<ReadonlySet<string> | null> {
  try {
    const text = await readHtpasswdText(auth.htpasswd);
    return new Set(parseHtpasswd(text, auth).entries.keys());
  } catch {
    return null;
  }
}

/** Finds the place of a part of the configuration by its path; the key's name if it has none. */
export function findPlace(
  { settings }: Pick<LoadedConfig, 'settings'>,
  [key = '', ...path]: readonly (string | number)[],
): string {
  const setting = settings.get(String(key));
  return setting?.placeOf?.(path) ?? setting?.place ?? String(key);
}
