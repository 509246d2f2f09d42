import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { readRequests, type StrictMessage } from './strict-http.ts';

/** An upstream that accepts only strict HTTP, and echoes each request in its answer. */
export type RecordingUpstream = {
  readonly url: string;
  /** Describes each violation of strict HTTP, with its bytes. */
  readonly faults: readonly string[];
  /** Resolves when every connection with an incomplete request is closed. */
  settled(): Promise<void>;
  close(): Promise<void>;
};

/**
 * @param onRequest called with each request when it is there as a whole, or when its connection has ended before that.
 * @param answerHead further lines of an answer's head, each with its CR LF.
 */
export async function startRecordingUpstream(
  onRequest: (request: StrictMessage, isWhole: boolean, connection: Socket) => void,
  answerHead: (request: StrictMessage) => string = () => '',
): Promise<RecordingUpstream> {
  const faults: string[] = [];
  const sockets = new Set<Socket>();
  const midway = new Set<Socket>();
  let whenSettled = () => {};
  const server = createServer((socket) => {
    let unread = '';
    let begun: StrictMessage | null = null;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => {
      sockets.delete(socket);
      midway.delete(socket);
      if (begun) onRequest(begun, false, socket);
      if (midway.size === 0) whenSettled();
    });
    socket.on('data', (chunk) => {
      unread += chunk.toString('latin1');
      const reading = readRequests(unread);
      for (const request of reading.messages) {
        onRequest(request, true, socket);
        const body = request.method === 'HEAD' ? '' : request.target;
        const length = Buffer.byteLength(request.target, 'latin1');
        const head = `HTTP/1.1 200 OK\r\n${answerHead(request)}Content-Length: ${length}\r\n\r\n`;
        socket.write(Buffer.from(head + body, 'latin1'));
      }
      unread = unread.slice(reading.messages.at(-1)?.end ?? 0);
      begun = reading.begun;
      if (reading.rest === 'incomplete') midway.add(socket);
      else midway.delete(socket);
      if (reading.rest !== 'invalid') return;
      faults.push(`upstream got ${reading.why}, in ${JSON.stringify(unread.slice(0, 600))}`);
      socket.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    faults,
    settled: () =>
      new Promise((resolve) => {
        whenSettled = resolve;
        if (midway.size === 0) resolve();
      }),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
