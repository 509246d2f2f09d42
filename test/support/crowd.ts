import { setTimeout as delay } from 'node:timers/promises';
import type { FrontDoor } from './front-door.ts';
import { connectClient, type RawClient } from './raw-client.ts';
import { readMemory } from './process-status.ts';
import { until } from './redis.ts';

const steadyWithinBytes = 256 * 1024;

/** Returns the memory of a process, once it is steady. */
export async function steadyBytes(pid: number): Promise<number> {
  let last = 0;
  let unchanged = 0;
  await until('memory is steady', async () => {
    const { nowBytes } = await readMemory(pid);
    unchanged = Math.abs(nowBytes - last) < steadyWithinBytes ? unchanged + 1 : 0;
    last = nowBytes;
    await delay(100);
    return unchanged >= 5;
  });
  return last;
}

/** Opens so many connections that send this, and reads all answers. */
export async function openCrowd(frontDoor: FrontDoor, size: number, bytes: string): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  for (let i = 0; i < size; i++) {
    const client = await connectClient(frontDoor);
    client.socket.on('error', () => {}).resume();
    client.send(bytes);
    clients.push(client);
  }
  return clients;
}

/** How many of them Tidegate has not closed. */
export const countOpen = (clients: readonly RawClient[]): number =>
  clients.filter(({ socket }) => !socket.destroyed).length;
