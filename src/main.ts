#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { OperatorError } from './system/operator-error.ts';
import { wrapLine } from './telemetry/log/wrap.ts';
import { version } from './config/version.ts';

type AddCommand = (program: Command) => void;

/** Loaded when asked for: a server has no use for what makes certificates. */
const commands: ReadonlyMap<string, () => Promise<AddCommand>> = new Map([
  ['serve', async () => (await import('./cli/serve.ts')).addServeCommand],
  ['reload', async () => (await import('./cli/reload.ts')).addReloadCommand],
  ['cert', async () => (await import('./cli/cert/cert.ts')).addCertCommand],
  ['user', async () => (await import('./cli/user.ts')).addUserCommand],
  ['token', async () => (await import('./cli/token.ts')).addTokenCommand],
  ['config', async () => (await import('./cli/config.ts')).addConfigCommand],
  ['usage', async () => (await import('./cli/usage.ts')).addUsageCommand],
  ['policy', async () => (await import('./cli/policy/policy.ts')).addPolicyCommand],
  ['mirror', async () => (await import('./cli/mirror/mirror.ts')).addMirrorCommand],
  ['cache', async () => (await import('./cli/cache.ts')).addCacheCommand],
  ['clean', async () => (await import('./cli/clean/clean.ts')).addCleanCommand],
  ['tag', async () => (await import('./cli/tag.ts')).addTagCommand],
  ['doctor', async () => (await import('./cli/doctor.ts')).addDoctorCommand],
  ['alert', async () => (await import('./cli/alert.ts')).addAlertCommand],
]);

/** Runs one command. Gives the exit code: 0 done, 1 the work failed, 2 wrong usage. */
async function run(argv: readonly string[]): Promise<number> {
  const program = new Command('tidegate')
    .description('HTTPS reverse proxy for a private container registry')
    .version(version)
    .showHelpAfterError('(add --help for the usage)')
    .exitOverride();
  const asked = commands.get(argv[0] ?? '');
  for (const load of asked ? [asked] : commands.values()) (await load())(program);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof OperatorError)) throw error;
    process.stderr.write(`${forTerminal(error.message)}\n`);
    return 1;
  }
}

const minWidth = 80;

/** Breaks long lines between words where a terminal would break within them. */
function forTerminal(text: string): string {
  const { isTTY, columns } = process.stderr;
  return isTTY
    ? text
        .split('\n')
        .flatMap((line) => wrapLine(line, Math.max(minWidth, columns)))
        .join('\n')
    : text;
}

// Timers and threads that do not hold the process may be all that a command waits for, when it ends what it had begun: Node
// would end with 13 and say nothing.
const holding = setInterval(() => {}, 2 ** 30);
try {
  process.exitCode = await run(process.argv.slice(2));
} finally {
  clearInterval(holding);
}
