import { existsSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { stringify } from 'yaml';
import { configKeys, readConfigValue, type ConfigKey } from '../config/schema/key-list.ts';
import { editMembers, readMember, readMembers } from '../config/schema/types/members.ts';
import { findAcmeFolder } from '../config/schema/acme-folder.ts';
import { isCleaned } from '../config/schema/is-cleaned.ts';
import { loadConfig, type ConfigSources, type LoadedConfig } from '../config/load/load.ts';
import { checkConfiguredFiles } from '../app/configured-files.ts';
import { managedCertificatePath } from '../tls/managed-certificate.ts';
import { OperatorError } from '../system/operator-error.ts';
import { findCleanWarnings } from './clean/clean-warnings.ts';
import { findExposedSecrets } from './exposed-secrets.ts';
import { findPolicyWarnings } from './policy/policy-warnings.ts';

type Options = { readonly config?: string; readonly flavor?: string; readonly set: readonly string[] };

/** Adds --config, --flavor and --set to a command that reads the configuration. */
export function addConfigOptions(command: Command): Command {
  return command
    .option('--config <file>', 'configuration file (default: config/tidegate.yml where it exists)')
    .option(
      '--flavor <name>',
      'flavor of the file (default: $TIDEGATE_FLAVOR, else $SETTINGS_FLAVOR, else dev)',
    )
    .option('--set <key=value>', 'set one key, such as listen.port=8443 (may be repeated)', collectFlag, []);
}

/** The sources given by the options of addConfigOptions, the environment and the working directory. */
export function readConfigOptions(command: Command): ConfigSources {
  const { config, flavor, set } = command.opts<Options>();
  return { configPath: config, flavor, set, env: process.env, cwd: process.cwd() };
}

/** Adds `config check` and `config show`. */
export function addConfigCommand(program: Command): void {
  const config = program.command('config').description('check or show the configuration');
  const check = config
    .command('check')
    .description(
      'check the configuration and the files that it names: report every problem, or ok with warnings and the paths of the files',
    );
  addConfigOptions(check).action(async () => {
    const loaded = await loadConfig(readConfigOptions(check));
    const { warnings, problems } = await checkConfiguredFiles(loaded.config, new Date());
    const found = [
      ...findExposedSecrets(loaded),
      ...(await findPolicyWarnings(loaded)),
      ...findCleanWarnings(loaded),
      ...warnings,
    ];
    for (const warning of found) process.stderr.write(`warning: ${warning}\n`);
    if (problems.length > 0) throw new OperatorError(problems.join('\n'));
    process.stdout.write(formatCheck(loaded));
  });
  const show = config
    .command('show')
    .description('print the configuration in effect as YAML, with the origin of each value that is set');
  addConfigOptions(show).action(async () => {
    process.stdout.write(formatConfig(await loadConfig(readConfigOptions(show))));
  });
}

function collectFlag(flag: string, earlier: readonly string[]): string[] {
  if (!flag.includes('=')) throw new InvalidArgumentError('Write KEY=VALUE, such as listen.port=8443.');
  return [...earlier, flag];
}

function formatCheck({ config, configPath, flavor }: LoadedConfig): string {
  const acmeFolder = findAcmeFolder(config);
  // The keys of what is not in use.
  const isUnused = ({ path }: ConfigKey) =>
    (path === 'clean.socket' && !isCleaned(config)) ||
    (acmeFolder === null
      ? path === 'tls.acme.dir' || (path === 'state.dir' && !config.state.usage)
      : path === 'tls.cert' || path === 'tls.key');
  const paths = [...configKeys.values()].flatMap((key) => {
    if (isUnused(key)) return [];
    const value = readConfigValue(config, key.segments);
    const { pathMembers } = key;
    if (key.isPath !== true && pathMembers === undefined) return [];
    const items = (Array.isArray(value) ? value : [value]) as readonly unknown[];
    const paths = pathMembers === undefined ? items : readMembers(value, pathMembers);
    const named = paths.filter((item) => typeof item === 'string');
    return named.map((item) => `${key.path}: ${item} (${existsSync(item) ? 'exists' : 'missing'})`);
  });
  const file = configPath ?? 'none (defaults, environment and flags)';
  const managed =
    acmeFolder === null
      ? []
      : [
          `tls.acme: ${managedCertificatePath(acmeFolder)} (${existsSync(managedCertificatePath(acmeFolder)) ? 'exists' : 'is ordered by serve'})`,
        ];
  return ['ok', `file: ${file}`, `flavor: ${flavor ?? 'none'}`, ...paths, ...managed, ''].join('\n');
}

/** Formats YAML that can be loaded again: with units, absolute paths, and a marker for secrets. */
function formatConfig(loaded: LoadedConfig): string {
  let shownGroups: readonly string[] = [];
  // Omits an absent policy: an empty one could be a mistake, and is refused.
  const isShown = (key: ConfigKey) => key.textForm !== 'yaml' || showValue(loaded, key) !== null;
  const lines = [...configKeys.values()].filter(isShown).map((key) => {
    const groups = key.segments.slice(0, -1);
    const same = groups.findIndex((name, i) => name !== shownGroups[i]);
    const heads =
      same === -1 ? [] : groups.slice(same).map((name, i) => `${'  '.repeat(same + i)}${name}:\n`);
    shownGroups = groups;
    const place = loaded.settings.get(key.path)?.place;
    const value = stringify(showValue(loaded, key), { collectionStyle: 'flow', lineWidth: 0 }).trimEnd();
    return `${heads.join('')}${'  '.repeat(groups.length)}${key.name}: ${value}${place === undefined ? '' : ` # ${place}`}\n`;
  });
  return lines.join('');
}

function showValue({ config, settings }: LoadedConfig, key: ConfigKey): unknown {
  const setting = settings.get(key.path);
  const written = setting === undefined ? key.fallback : setting.value;
  const { secretMembers = [] } = key;
  if (key.isPath === true) return readConfigValue(config, key.segments);
  const value =
    key.pathMembers === undefined
      ? written
      : editMembers(written, key.pathMembers, (_, place) =>
          readMember(readConfigValue(config, key.segments), place),
        );
  if (secretMembers.length > 0)
    return editMembers(value, secretMembers, (secret) => (secret === null ? null : '********'));
  return key.isSecret === true && value !== null ? '********' : value;
}
