import type { FrontDoor } from '../../test/support/front-door.ts';
import { startBystander, type Good } from './bystander.ts';
import { readHoldings, untilBack } from './leak-check.ts';

/**
 * Runs a healthy client beside an attack, which must not affect it. Compares Tidegate's sockets and memory before and after.
 * @param keptConnections how many connections to upstream the attack may leave open for the next requests
 * @throws Error if the client was affected, or Tidegate holds more than before
 */
export async function besideHealthyClient<T>(
  frontDoor: Pick<FrontDoor, 'port' | 'ca' | 'pid'>,
  good: Good,
  keptConnections: number,
  attack: () => Promise<T>,
): Promise<T> {
  const bystander = startBystander(frontDoor, [good]);
  try {
    await bystander.settled();
    const before = await readHoldings(frontDoor.pid);
    const outcome = await attack();
    await bystander.settled();
    await untilBack(frontDoor.pid, { ...before, descriptors: before.descriptors + keptConnections });
    return outcome;
  } finally {
    await bystander.stop();
  }
}
