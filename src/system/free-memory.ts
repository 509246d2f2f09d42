import { MessageChannel, type MessagePort } from 'node:worker_threads';

/**
 * Transfers to a closed port free the memory: the transfer precedes the check of the port (HTML standard, section
 * 9.4.4).
 */
const nowhere = createClosedPort();

/** Smaller buffers, in bytes, are left to the garbage collector: a list of them would use more memory than they do. */
const minFreedBytes = 1024;
/** How much `freeSoon` frees at a time, in bytes: one buffer of 16 KiB at a time would cost more than is gained. */
const batchBytes = 256 * 1024;

let spent: Buffer[] = [];
let spentBytes = 0;
let freeing: NodeJS.Immediate | undefined;

/**
 * Frees the memory of buffers that are no longer used, and empties them. The garbage collector would too, but scans the
 * whole heap for every 64 MiB of such memory. Buffers that share their memory are left to it.
 */
export function freeMemory(buffers: readonly Buffer[]): void {
  const own = buffers.flatMap(({ buffer, byteLength }) =>
    byteLength > 0 && byteLength === buffer.byteLength ? [buffer as ArrayBuffer] : [],
  );
  nowhere.postMessage(null, own);
}

/**
 * Frees the memory of a buffer together with others, and not before this turn of the event loop ends: what else was called
 * with it may still read it until then. At most 256 KiB wait for more.
 */
export function freeSoon(buffer: Buffer): void {
  if (buffer.length < minFreedBytes) return;
  spent.push(buffer);
  spentBytes += buffer.length;
  if (spentBytes >= batchBytes) freeing ??= setImmediate(freeSpent);
}

function freeSpent(): void {
  const buffers = spent;
  spent = [];
  spentBytes = 0;
  freeing = undefined;
  freeMemory(buffers);
}

function createClosedPort(): MessagePort {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  port1.close();
  return port1;
}
