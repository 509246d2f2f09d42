import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';

const stopTimeoutMs = 15_000;
const firstBackoffMs = 1000;
const longestBackoffMs = 30_000;

/** A program with its arguments. */
export type ChildCommand = { readonly program: string; readonly args: readonly string[] };

export type SuperviseOptions = {
  readonly command: ChildCommand;
  /** For people, at the beginning of a sentence. */
  readonly name: string;
  /** What it prints is appended here. */
  readonly logPath: string;
  readonly warn: (sentence: string) => void;
};

/** Starts it again when it ends, with a growing pause; returns what ends it for good. */
export function supervise(
  first: ChildProcess,
  { command, name, logPath, warn }: SuperviseOptions,
): () => Promise<void> {
  let child = first;
  let startedAtMs = Date.now();
  let backoffMs = firstBackoffMs;
  let restart: NodeJS.Timeout | undefined;
  let stopping = false;

  const watch = () => {
    const onEnd = () => {
      if (stopping) return;
      if (Date.now() - startedAtMs > longestBackoffMs) backoffMs = firstBackoffMs;
      const cause = child.exitCode === null ? child.signalCode : `status ${child.exitCode}`;
      warn(
        `${name} has ended (${cause}); it is started again in ${backoffMs / 1000} s. Its output is in ${logPath}.`,
      );
      restart = setTimeout(() => {
        child = launch(command, logPath);
        startedAtMs = Date.now();
        watch();
      }, backoffMs);
      backoffMs = Math.min(backoffMs * 2, longestBackoffMs);
    };
    child.once('exit', onEnd);
    // A program that was deleted since cannot start.
    if (child.pid === undefined) onEnd();
  };
  watch();
  // A second Ctrl-C ends this process at once; the child must not stay.
  const onProcessExit = () => signal(child, 'SIGTERM');
  process.once('exit', onProcessExit);

  return async () => {
    stopping = true;
    clearTimeout(restart);
    await endChild(child);
    process.off('exit', onProcessExit);
  };
}

/** In its own session: Ctrl-C on the terminal reaches only Tidegate, which then ends the registry. */
export function launch({ program, args }: ChildCommand, logPath: string): ChildProcess {
  const log = openSync(logPath, 'a', 0o600);
  try {
    const options: SpawnOptions = { stdio: ['ignore', log, log], detached: true, env: registryEnvironment() };
    const child = hasDeathSignal()
      ? spawn('setpriv', ['--pdeathsig', 'TERM', '--', program, ...args], options)
      : spawn(program, args, options);
    child.on('error', () => undefined);
    return child;
  } finally {
    closeSync(log);
  }
}

let deathSignal: boolean | undefined;

function hasDeathSignal(): boolean {
  deathSignal ??= spawnSync('setpriv', ['--pdeathsig', 'TERM', '--', 'true']).status === 0;
  return deathSignal;
}

/** REGISTRY_… would override the generated configuration; version 3 sends traces to localhost by default. */
function registryEnvironment(): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('REGISTRY_'));
  return { ...Object.fromEntries(inherited), OTEL_TRACES_EXPORTER: 'none' };
}

export function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

export async function endChild(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return;
  const gone = once(child, 'exit');
  signal(child, 'SIGTERM');
  const killer = setTimeout(() => signal(child, 'SIGKILL'), stopTimeoutMs);
  await gone;
  clearTimeout(killer);
}

function signal(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined || !isRunning(child)) return;
  try {
    process.kill(-child.pid, name);
  } catch {
    child.kill(name);
  }
}
