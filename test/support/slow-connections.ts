import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { FrontDoor } from './front-door.ts';
import { stop } from './processes.ts';

/** 2,000 very slow connections, held by a separate process and replaced when closed. */
export type SlowConnections = {
  /** How many have been opened so far, and how many of them Tidegate has closed. */
  readonly opened: number;
  readonly closed: number;
  stop(): Promise<void>;
};

/** @param options addresses: their source addresses; within: a command prefix to start the process with */
export function startSlowConnections(
  { port, caPath }: Pick<FrontDoor, 'port' | 'caPath'>,
  { addresses, within = [] }: { addresses: readonly string[]; within?: readonly string[] },
): SlowConnections {
  const program = fileURLToPath(new URL('./slow-connections-process.js', import.meta.url));
  const [file = '', ...args] = [...within, process.execPath, program, String(port), caPath, ...addresses];
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  let seen = { opened: 0, closed: 0 };
  createInterface({ input: child.stdout }).on('line', (line) => {
    seen = JSON.parse(line) as typeof seen;
  });
  return {
    get opened() {
      return seen.opened;
    },
    get closed() {
      return seen.closed;
    },
    stop: () => stop(child, 'SIGKILL'),
  };
}
