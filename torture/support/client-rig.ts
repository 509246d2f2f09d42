import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createByteReader } from '../../test/support/byte-reader.ts';
import type { FrontDoor } from '../../test/support/front-door.ts';
import { connectClient, type RawClient } from '../../test/support/raw-client.ts';
import type { Registry } from '../../test/support/registry.ts';
import type { Form } from '../trial.ts';
import type { Bystander, Good } from './bystander.ts';
import type { Random } from './random.ts';
import { within } from './within.ts';

/** What the trials of clients' faults share. */
export type ClientRig = {
  readonly form: Form;
  readonly random: Random;
  readonly frontDoor: FrontDoor;
  readonly registry: Registry;
  readonly bystander: Bystander;
  /** A blob of a few KiB. */
  readonly limits: {
    readonly handshakeTimeoutMs: number;
    readonly headerTimeoutMs: number;
    readonly idleTimeoutMs: number;
  };
  readonly small: Good;
  /** A blob larger than any socket buffer. */
  readonly large: Good;
  readonly repository: string;
  /** A manifest that the registry accepts. */
  readonly manifest: Buffer;
};

export const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** Tidegate's timeouts: short, but in the longer forms long enough for a busy machine. */
export const limitsOf = (form: Form): ClientRig['limits'] =>
  form === 'quick'
    ? { handshakeTimeoutMs: 4000, headerTimeoutMs: 3000, idleTimeoutMs: 2000 }
    : { handshakeTimeoutMs: 8000, headerTimeoutMs: 6000, idleTimeoutMs: 5000 };
/** The time after which a case hangs; the machine may be busy. */
export const longestMs = 20_000;

/** Sends these bytes on a new TCP connection, ends it as told, and returns what comes back until it is closed. */
export async function sendInClear(
  port: number,
  pieces: readonly (string | Buffer)[],
  ending: 'FIN' | 'RST' | 'stay',
  what: string,
): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const reader = createByteReader(socket);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  for (const piece of pieces) {
    socket.write(piece);
    if (pieces.length > 1) await new Promise((resolve) => setImmediate(resolve));
  }
  if (ending === 'FIN') socket.end();
  if (ending === 'RST') socket.resetAndDestroy();
  const received = await within(longestMs, what, reader.rest());
  socket.destroy();
  await closed;
  return received;
}

/** A client that can close its connection with a reset. */
export async function connectResettable(
  frontDoor: FrontDoor,
): Promise<RawClient & { reset(): void; readonly tcp: Socket }> {
  const tcp = connect(frontDoor.port, '127.0.0.1');
  await once(tcp, 'connect');
  tcp.on('error', () => {});
  const client = await connectClient(frontDoor, { socket: tcp });
  return { ...client, tcp, reset: () => void tcp.resetAndDestroy() };
}

/** Runs cases, so many at a time; returns how many there were. */
export async function eachAtOnce<Case>(
  atOnce: number,
  cases: Iterable<Case>,
  attempt: (each: Case) => Promise<void>,
): Promise<number> {
  const rest = cases[Symbol.iterator]();
  let count = 0;
  const work = async () => {
    for (let next = rest.next(); next.done !== true; next = rest.next()) {
      await attempt(next.value);
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return count;
}
