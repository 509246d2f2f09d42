import type { ChildProcess } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../../system/operator-error.ts';
import { endChild, isRunning, launch, supervise, type ChildCommand } from '../child-process.ts';
import { pickFreePort } from '../port.ts';
import { answersLikeRegistry } from './registry-probe.ts';

const startTimeoutMs = 30_000;
const settleMs = 300;

export type RegistryProcess = {
  readonly url: string;
  /** What it printed before it answered. */
  readonly output: string;
  readonly stop: () => Promise<void>;
};

export type RegistryProcessOptions = {
  /**
   * Gives the registry's program, with the arguments that make it listen on this loopback port. Called again with another
   * one when the first was taken by another program.
   */
  readonly createCommand: (port: number) => Promise<ChildCommand>;
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
    if (!isUp) await endChild(child);
    const output = (await readFile(options.logPath)).subarray(logOffset).toString('utf8').trim();
    if (isUp) {
      const { logPath, warn } = options;
      return {
        url,
        output,
        stop: supervise(child, { command, name: `The registry at ${url}`, logPath, warn }),
      };
    }
    const lostPort = /address already in use|port is already allocated/.test(output);
    if (!lostPort || attempt === 5) {
      const lastLines = output.split('\n').slice(-5).join('\n');
      throw new OperatorError(
        `The registry ${command.program} does not start; its last words in ${options.logPath}:\n${lastLines}`,
      );
    }
  }
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

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}
