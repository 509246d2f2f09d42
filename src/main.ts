#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { readFileSync } from 'node:fs';
import { addCacheCommand } from './cli/cache.ts';
import { addCertCommand } from './cli/cert.ts';
import { addConfigCommand } from './cli/config.ts';
import { addServeCommand } from './cli/serve.ts';
import { addUserCommand } from './cli/user.ts';
import { OperatorError } from './operator-error.ts';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** Runs one command. Gives the exit code: 0 done, 1 the work failed, 2 wrong usage. */
async function run(argv: readonly string[]): Promise<number> {
  const program = new Command('tidegate')
    .description('The HTTPS front door of a private container registry')
    .version(version)
    .showHelpAfterError('(add --help to see how it is used)')
    .exitOverride();
  addServeCommand(program);
  addCertCommand(program);
  addUserCommand(program);
  addConfigCommand(program);
  addCacheCommand(program);
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
