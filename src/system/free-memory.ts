import { MessageChannel, type MessagePort } from 'node:worker_threads';

/** What is transferred to a closed port is gone: the transfer comes before the look at the port (HTML standard, section 9.4.4). */
const nowhere = createClosedPort();

/**
 * Frees the memory of buffers that nobody will look at again, which are empty from then on. The garbage collector would do it too, but for
 * every 64 MiB of such memory it goes through everything else that there is. Buffers that share their memory are left to it.
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
