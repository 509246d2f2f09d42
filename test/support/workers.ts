import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { FrontDoor } from './front-door.ts';
import { anonymous, connectClient, type RawClient } from './raw-client.ts';
import { until } from './redis.ts';

/** Lists the living children of a process (Linux, /proc). */
export async function workerPids({ pid }: Pick<FrontDoor, 'pid'>): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return children.split(' ').filter(Boolean).map(Number);
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

export const untilGone = (pid: number): Promise<void> =>
  until(`process ${pid} is gone`, () => Promise.resolve(!isAlive(pid)));

let probes = 0;

/** Connects to this worker: opens connections one by one until the log says that it answered. */
export async function connectToWorker(frontDoor: FrontDoor, pid: number): Promise<RawClient> {
  for (let tries = 0; tries < 50; tries += 1) {
    const client = await connectClient(frontDoor);
    const path = `/v2/probe-${++probes}`;
    client.send(anonymous(`GET ${path}`));
    await client.response();
    const line = await frontDoor.logged((entry) => entry['path'] === path);
    if (line['pid'] === pid) return client;
    client.leave();
    await once(client.socket, 'close');
  }
  throw new Error(`no connection reached ${pid}`);
}
