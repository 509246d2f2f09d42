import { once } from 'node:events';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { createByteReader, type ByteReader } from './byte-reader.ts';
import { basic, type FrontDoor } from './front-door.ts';
import { head, readBody, readHead, type Message } from './http-message.ts';

export type Response = Message & { readonly status: number };

/** A client that sends exactly the given bytes, over TLS verified against Tidegate's CA. */
export type RawClient = {
  readonly socket: TLSSocket;
  readonly reader: ByteReader;
  /** Sends text as Latin-1. */
  send(...bytes: (string | Buffer)[]): void;
  /** Reads one response, to the end of its body or of the connection. */
  response(requestMethod?: string): Promise<Response>;
  /** Reads one response head. @throws Error when the connection ended before it. */
  responseHead(): Promise<Pick<Response, 'head' | 'startLine' | 'headers' | 'status'>>;
  /** Reads what Tidegate still sends until it closes the connection. */
  rest(): Promise<Buffer>;
  /** Closes the connection. */
  leave(): void;
};

/** The name of Tidegate for clients in these tests; the port makes it differ from every address in use. */
export const clientHost = 'registry.example:8443';

/** A request head with Host and the right credentials, and further lines. */
export const authorized = (requestLine: string, ...lines: string[]): string =>
  head(`${requestLine} HTTP/1.1`, `Host: ${clientHost}`, `Authorization: ${basic}`, ...lines);

/** The same without credentials. */
export const anonymous = (requestLine: string, ...lines: string[]): string =>
  head(`${requestLine} HTTP/1.1`, `Host: ${clientHost}`, ...lines);

export async function connectClient(
  frontDoor: Pick<FrontDoor, 'port' | 'ca'>,
  options: ConnectionOptions & { readonly localAddress?: string } = {},
): Promise<RawClient> {
  const socket = connect({
    host: '127.0.0.1',
    port: frontDoor.port,
    ca: frontDoor.ca,
    servername: 'localhost',
    ...options,
  });
  await once(socket, 'secureConnect');
  const reader = createByteReader(socket);
  const responseHead: RawClient['responseHead'] = async () => {
    const received = await readHead(reader);
    if (received === null) throw new Error('the connection ended before a response');
    return { ...received, status: Number(received.startLine.split(' ')[1]) };
  };
  return {
    socket,
    reader,
    send: (...bytes) => {
      for (const part of bytes) socket.write(typeof part === 'string' ? Buffer.from(part, 'latin1') : part);
    },
    responseHead,
    response: async (requestMethod) => {
      const received = await responseHead();
      return { ...received, ...(await readBody(reader, received, requestMethod)) };
    },
    rest: () => reader.rest(),
    leave: () => socket.destroy(),
  };
}

/** Sends these bytes on a new connection, reads one response, and closes it. */
export async function exchange(
  frontDoor: Pick<FrontDoor, 'port' | 'ca'>,
  ...bytes: (string | Buffer)[]
): Promise<Response> {
  const client = await connectClient(frontDoor);
  try {
    client.send(...bytes);
    const method = /^[A-Z]+/.exec(String(bytes[0]))?.[0];
    return await client.response(method);
  } finally {
    client.leave();
  }
}

/** The code of Tidegate's own error; fails unless the answer has the distribution-spec's form. */
export function errorCode(response: Pick<Response, 'body' | 'headers'>): string {
  const { errors } = JSON.parse(response.body.toString()) as { errors: { code: string; message: string }[] };
  const [error] = errors;
  if (errors.length !== 1 || error === undefined || error.message === '')
    throw new Error(`not an OCI error: ${response.body.toString()}`);
  return error.code;
}
