import { once } from 'node:events';
import { createServer as createPlainServer, type AddressInfo, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { createByteReader } from './byte-reader.ts';
import { framingOf, head, readBody, readHead, type Message } from './http-message.ts';

/** One request as upstream received it, byte for byte. The test can answer it with any bytes. */
export type UpstreamRequest = Pick<Message, 'head' | 'startLine' | 'headers'> & {
  /** The number of its connection, from 1. */
  readonly connection: number;
  readonly socket: Socket;
  /** Reads the body by its framing, and only then the connection's next request. */
  body(): Promise<Pick<Message, 'body' | 'trailers' | 'complete'>>;
  /** Reads more bytes of the body as they are on the wire; null at the connection's end. */
  someBody(): Promise<Buffer | null>;
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>;
  answer(...bytes: (string | Buffer)[]): void;
};

/** A registry whose answers the test writes, on a TCP socket. */
export type ScriptedUpstream = {
  readonly url: string;
  readonly port: number;
  /** Connections open now. */
  readonly open: number;
  /** Connections accepted so far. */
  readonly accepted: number;
  /** Every request received, in order. */
  readonly requests: readonly UpstreamRequest[];
  /** Takes the next request. */
  next(): Promise<UpstreamRequest>;
  /** Resolves when no connection is open. */
  idle(): Promise<void>;
  /** Stops listening; open connections stay. The returned function listens again on the same port. */
  refuse(): () => Promise<void>;
  close(): Promise<void>;
};

export type UpstreamScript = (request: UpstreamRequest) => unknown;

/** Reads the request, and answers 200 with a small body. */
export const answerOk: UpstreamScript = async (request) => {
  await request.body();
  request.answer(
    head('HTTP/1.1 200 OK', 'Content-Length: 2'),
    request.startLine.startsWith('HEAD ') ? '' : 'ok',
  );
};

/**
 * @param script called for every request; without one the test takes each by next()
 * @param keepsRequests whether to keep them in `requests`, with bodies; false if there are too many
 */
export async function startUpstream({
  script,
  tls,
  keepsRequests = true,
}: {
  script?: UpstreamScript;
  tls?: { cert: string; key: string };
  keepsRequests?: boolean;
} = {}): Promise<ScriptedUpstream> {
  const requests: UpstreamRequest[] = [];
  const sockets = new Set<Socket>();
  const untaken: UpstreamRequest[] = [];
  let taker: ((request: UpstreamRequest) => void) | undefined;
  let whenIdle = () => {};
  let accepted = 0;

  const serve = async (socket: Socket) => {
    const connection = ++accepted;
    sockets.add(socket);
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    void closed.then(() => {
      sockets.delete(socket);
      if (sockets.size === 0) whenIdle();
    });
    socket.on('error', () => {});
    const reader = createByteReader(socket);
    for (;;) {
      const received = await readHead(reader);
      if (received === null) return;
      let body: ReturnType<UpstreamRequest['body']> | undefined;
      let consumed = () => {};
      const bodyRead = new Promise<void>((resolve) => (consumed = resolve));
      const request: UpstreamRequest = {
        ...received,
        connection,
        socket,
        closed,
        body: () => (body ??= readBody(reader, received).finally(consumed)),
        someBody: () => reader.some(),
        answer: (...bytes) => {
          for (const part of bytes)
            socket.write(typeof part === 'string' ? Buffer.from(part, 'latin1') : part);
        },
      };
      if (keepsRequests) requests.push(request);
      if (script) void script(request);
      else if (taker) {
        taker(request);
        taker = undefined;
      } else untaken.push(request);
      if (framingOf(received) === 'none') await request.body();
      await bodyRead;
    }
  };
  const server = tls === undefined ? createPlainServer() : createTlsServer(tls);
  server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => void serve(socket));
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    port,
    get open() {
      return sockets.size;
    },
    get accepted() {
      return accepted;
    },
    requests,
    next: () => {
      const request = untaken.shift();
      if (request) return Promise.resolve(request);
      return new Promise((resolve) => (taker = resolve));
    },
    idle: () =>
      new Promise((resolve) => {
        whenIdle = resolve;
        if (sockets.size === 0) resolve();
      }),
    refuse: () => {
      server.close();
      return async () => {
        server.listen(port, '127.0.0.1');
        await once(server, 'listening');
      };
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
