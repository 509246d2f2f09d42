import type { DoorLock, Doors } from '../channel/doors.ts';
import type { MovedItem } from '../quarantine/item.ts';
import type { Quarantine } from '../quarantine/quarantine.ts';
import { ensureHeld } from './holds.ts';

/**
 * Moves something into the quarantine under a lock. Should this process be stopped for long right before, the front doors
 * release the lock, and what is moved then may have been pushed anew: so it is moved back.
 *
 * @throws DoorsError when the lock is lost
 */
export async function moveHeld(
  { quarantine, doors }: { readonly quarantine: Quarantine; readonly doors: Doors },
  lock: DoorLock,
  { item, number }: { readonly item: MovedItem; readonly number: number },
): Promise<void> {
  await ensureHeld({ doors }, lock);
  await quarantine.move(item);
  try {
    await ensureHeld({ doors }, lock);
  } catch (error) {
    const isBack = await quarantine.moveBack(item).catch(() => false);
    quarantine.tell(number, item, isBack ? 'left' : 'taken');
    throw error;
  }
  quarantine.tell(number, item, 'taken');
}
