import { DoorsError } from './doors.ts';
import type { DoorAsk, Hello } from './messages.ts';
import type { Peer } from './peer.ts';

/** A front door that is connected. */
export type Door = { readonly hello: Hello; readonly peer: Peer };
type AskKind = DoorAsk['kind'];

/** How long a front door may take to answer, in milliseconds: longer than it may take inside. */
const limitsMs = {
  lock: 10_000,
  unlock: 45_000,
  evidence: 6000,
  delete: 45_000,
  'remove-tag': 65_000,
  request: 65_000,
  taken: 10_000,
  usage: 30_000,
  pause: 5000,
  resume: 5000,
  status: 10_000,
} satisfies Record<AskKind, number>;

/** @throws DoorsError */
export async function askDoor({ hello, peer }: Door, message: DoorAsk): Promise<unknown> {
  try {
    return await peer.ask(message, limitsMs[message.kind]);
  } catch (error) {
    throw new DoorsError(`${nameOf(hello.door)} cannot be relied on: ${(error as Error).message}.`, {
      cause: error,
    });
  }
}

export function nameOf({ host, pid }: Pick<Hello['door'], 'host' | 'pid'>): string {
  return `The front door ${host}/${pid}`;
}
