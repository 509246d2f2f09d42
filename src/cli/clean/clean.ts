import { InvalidArgumentError, type Command } from 'commander';
import { runForm } from '../../clean/quarantine/clean-folder.ts';
import { loadConfig } from '../../config/load/load.ts';
import type { Config } from '../../config/schema/schema.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { addConfigOptions, readConfigOptions } from '../config.ts';
import { openTerminal } from '../terminal.ts';
import { addCleanServeCommand } from './clean-serve.ts';
import { performAtCleaner, requireCleaner } from './cleaner-command.ts';
import { planFromFiles } from './plan-from-files.ts';

/** The exit code of `plan --check` when something would go. */
const wouldGo = 3;

/** Adds `clean serve|plan|run|undo|status|purge`: removes from the registry what the rules do not keep. */
export function addCleanCommand(program: Command): void {
  const clean = program
    .command('clean')
    .description('remove from the registry what clean.rules do not keep, while it serves');
  addCleanServeCommand(clean);
  addPlan(clean);
  addRun(clean);
  addUndo(clean);
  const status = clean
    .command('status')
    .description('show the last runs, what goes on, what is in quarantine and when the next run begins')
    .option('--json', 'print JSON');
  addConfigOptions(status).action(async () => {
    const { json = false } = status.opts<{ json?: true }>();
    await requireCleaner(await load(status), { command: 'status', json });
  });
  addPurge(clean);
}

function addPlan(clean: Command): void {
  const plan = clean
    .command('plan')
    .description('show what a run would take and why, and what stays; changes nothing')
    .option('--json', 'print JSON')
    .option('--all', 'list each tag that stays, too')
    .option('--check', `exit with ${wouldGo} when something would go`);
  addConfigOptions(plan).action(async () => {
    const { json = false, all = false, check } = plan.opts<{ json?: true; all?: true; check?: true }>();
    const loaded = await loadConfig(readConfigOptions(plan));
    const options = { json, all, columns: columns() };
    const { goes } =
      (await performAtCleaner(loaded.config, { command: 'plan', ...options })) ??
      (await planFromFiles(loaded, options));
    if (goes && check) process.exitCode = wouldGo;
  });
}

function addRun(clean: Command): void {
  const run = clean
    .command('run')
    .description('take what the plan names; tidegate clean undo brings it back')
    .option('--yes', 'show no plan, and do not ask');
  addConfigOptions(run).action(async () => {
    const { yes } = run.opts<{ yes?: true }>();
    const config = await load(run);
    const isAgreed = await agree(
      run,
      yes,
      'Take this? tidegate clean undo brings it back. [y/N] ',
      async () => {
        const { goes } = await requireCleaner(config, {
          command: 'plan',
          json: false,
          all: false,
          columns: columns(),
        });
        return goes;
      },
    );
    if (isAgreed) await requireCleaner(config, { command: 'run' });
  });
}

function addUndo(clean: Command): void {
  const undo = clean
    .command('undo')
    .description('bring back what a run took: the last one, or the one that is named')
    .argument('[run]', 'name of a run, as tidegate clean status shows it', parseRun);
  addConfigOptions(undo).action(async (run: string | undefined) => {
    await requireCleaner(await load(undo), { command: 'undo', run: run ?? null });
  });
}

function addPurge(clean: Command): void {
  const purge = clean
    .command('purge')
    .description('delete for good all that is in quarantine; nothing brings it back')
    .option('--yes', 'do not ask');
  addConfigOptions(purge).action(async () => {
    const { yes } = purge.opts<{ yes?: true }>();
    const config = await load(purge);
    const isAgreed = await agree(purge, yes, 'Delete what is in quarantine for good? [y/N] ', async () => {
      await requireCleaner(config, { command: 'status', json: false });
      return true;
    });
    if (isAgreed) await requireCleaner(config, { command: 'purge' });
  });
}

/** The width for what is printed. */
function columns(): number {
  return process.stdout.isTTY ? process.stdout.columns : 80;
}

/** Shows what is asked about, and asks, unless --yes says it already. */
async function agree(
  command: Command,
  yes: true | undefined,
  question: string,
  show: () => Promise<boolean>,
): Promise<boolean> {
  if (yes) return true;
  const confirm = openTerminal();
  if (confirm === null) command.error('error: there is no terminal to ask on: add --yes to do it unasked');
  if (!(await show())) return false;
  if (await confirm(question)) return true;
  throw new OperatorError('Nothing was changed.');
}

async function load(command: Command): Promise<Config> {
  return (await loadConfig(readConfigOptions(command))).config;
}

function parseRun(text: string): string {
  if (runForm.test(text)) return text;
  throw new InvalidArgumentError('It is not the name of a run: tidegate clean status shows them.');
}
