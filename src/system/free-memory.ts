import { MessageChannel, type MessagePort } from 'node:worker_threads';

/**
 * Transfers to a closed port free the memory: the transfer precedes the check of the port (HTML standard, section
 * 9.4.4).
 */
const nowhere = createClosedPort();

/**
 * Frees the memory of buffers that are no longer used, and empties them. The garbage collector would too, but scans the
 * whole heap for every 64 MiB of such memory. Buffers that share their memory are left to it.
 */
export function freeMemory(buffers: readonly Buffer[]): void {
  const own = buffers.flatMap(({ buffer, byteLength }) =>
    byteLength === buffer.byteLength ? [buffer as ArrayBuffer] : [],
  );
  nowhere.postMessage(null, own);
}

function createClosedPort(): MessagePort {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  port1.close();
  return port1;
}
