import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../../system/operator-error.ts';
import { pickFreePort } from '../port.ts';
import { answersLikeRegistry } from './registry-probe.ts';

const startTimeoutMs = 30_000;
const settleMs = 300;
const stopTimeoutMs = 15_000;
const firstBackoffMs = 1000;
const longestBackoffMs = 30_000;

/** The registry's program, with the arguments that make it listen on a loopback port. */
export type RegistryCommand = { readonly program: string; readonly args: readonly string[] };

export type RegistryProcess = {
  readonly url: string;
  /** What it printed before it answered. */
  readonly output: string;
  readonly stop: () => Promise<void>;
};

export type RegistryProcessOptions = {
  /** Called again with another port when the first was taken by another program. */
  readonly createCommand: (port: number) => Promise<RegistryCommand>;
  /** What the registry prints is appended here. */
  readonly logPath: string;
  readonly warn: (sentence: string) => void;
};

/**
 * Starts a registry on a free loopback port and returns once it answers. One that dies later is started again, with a
 * growing pause. `stop` ends it, and so does the end of this process, whatever its cause (where setpriv exists).
 * @throws OperatorError with the end of the registry's output, when it does not start.
 */
export async function startRegistryProcess(options: RegistryProcessOptions): Promise<RegistryProcess> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await pickFreePort('127.0.0.1');
    const url = `http://127.0.0.1:${port}`;
    const command = await options.createCommand(port);
    const logOffset = await sizeOf(options.logPath);
    const child = launch(command, options.logPath);
    const isUp = await comesUp(child, url);
    if (!isUp) await end(child);
    const output = (await readFile(options.logPath)).subarray(logOffset).toString('utf8').trim();
    if (isUp) return { url, output, stop: supervise(child, command, url, options) };
    const lostPort = /address already in use|port is already allocated/.test(output);
    if (!lostPort || attempt === 5) {
      const lastLines = output.split('\n').slice(-5).join('\n');
      throw new OperatorError(
        `The registry ${command.program} does not start; its last words in ${options.logPath}:\n${lastLines}`,
      );
    }
  }
}

/** Starts it again when it ends; returns what ends it for good. */
function supervise(
  first: ChildProcess,
  command: RegistryCommand,
  url: string,
  { logPath, warn }: RegistryProcessOptions,
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
        `The registry at ${url} has ended (${cause}); it is started again in ${backoffMs / 1000} s. Its output is in ${logPath}.`,
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
  // A second Ctrl-C ends this process at once; the registry must not stay.
  const onProcessExit = () => signal(child, 'SIGTERM');
  process.once('exit', onProcessExit);

  return async () => {
    stopping = true;
    clearTimeout(restart);
    await end(child);
    process.off('exit', onProcessExit);
  };
}

/** In its own session: Ctrl-C on the terminal reaches only Tidegate, which then ends the registry. */
function launch({ program, args }: RegistryCommand, logPath: string): ChildProcess {
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

async function comesUp(child: ChildProcess, url: string): Promise<boolean> {
  const deadlineMs = Date.now() + startTimeoutMs;
  while (Date.now() < deadlineMs && isRunning(child)) {
    if (await answersLikeRegistry(url, null, 1000)) {
      // Another program may have taken this port and answer; then ours is about to give up.
      await sleep(settleMs);
      return isRunning(child);
    }
    await sleep(50);
  }
  return false;
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function end(child: ChildProcess): Promise<void> {
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

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}
