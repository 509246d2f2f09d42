#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { readFileSync } from 'node:fs';
import { OperatorError } from './operator-error.ts';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** Each command is loaded when it is asked for, so that none takes time and memory for what others need. */
const commands = new Map<string, (program: Command) => Promise<void>>(
  Object.entries({
    serve: async (program: Command) => (await import('./cli/serve.ts')).addServeCommand(program),
    cert: async (program: Command) => (await import('./cli/cert.ts')).addCertCommand(program),
    user: async (program: Command) => (await import('./cli/user.ts')).addUserCommand(program),
    config: async (program: Command) => (await import('./cli/config.ts')).addConfigCommand(program),
    cache: async (program: Command) => (await import('./cli/cache.ts')).addCacheCommand(program),
  }),
);

/** Runs one command. Gives the exit code: 0 done, 1 the work failed, 2 wrong usage. */
async function run(argv: readonly string[]): Promise<number> {
  const program = new Command('tidegate')
    .description('The HTTPS front door of a private container registry')
    .version(version)
    .showHelpAfterError('(add --help to see how it is used)')
    .exitOverride();
  const asked = commands.get(argv[0] ?? '');
  for (const add of asked ? [asked] : commands.values()) await add(program);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof OperatorError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 1;
  }
}

process.exitCode = await run(process.argv.slice(2));
