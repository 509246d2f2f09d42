import type { ByteReader } from './byte-reader.ts';

/** An HTTP/1.1 message as it was on the wire (RFC 9112). */
export type Message = {
  /** Start line, headers and the blank line after them, as Latin-1. */
  readonly head: string;
  readonly startLine: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  /** The trailer: the lines after the last chunk. */
  readonly trailers: readonly string[];
  /** Whether it is complete by its framing; false: the connection ended first. */
  readonly complete: boolean;
};

/** A message head of these lines. */
export const head = (...lines: string[]): string => [...lines, '', ''].join('\r\n');

/** A body in one chunk, and the last chunk. */
export const chunked = (body: string): string => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

/** The values of a field; its name in any case. */
export const values = ({ headers }: Pick<Message, 'headers'>, name: string): string[] =>
  headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);

/** The fields in the sender's order and case, without those whose value no test can know. */
export const fields = ({ headers }: Pick<Message, 'headers'>, ...without: string[]): string[] =>
  headers.filter(([name]) => !without.includes(name)).map(([name, value]) => `${name}: ${value}`);

/** Reads the head of a message; null if the stream ends before it. */
export async function readHead(
  reader: ByteReader,
): Promise<Pick<Message, 'head' | 'startLine' | 'headers'> | null> {
  const text = await reader.until('\r\n\r\n');
  if (text === null) return null;
  const [startLine = '', ...lines] = text.slice(0, -4).split('\r\n');
  const headers = lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const;
  });
  return { head: text, startLine, headers };
}

type Framing = 'none' | 'length' | 'chunked' | 'until-close';

export function framingOf(message: Pick<Message, 'startLine' | 'headers'>, requestMethod = ''): Framing {
  const isResponse = message.startLine.startsWith('HTTP/');
  if (isResponse && (requestMethod === 'HEAD' || / (1\d\d|204|304)( |$)/.test(message.startLine)))
    return 'none';
  if (values(message, 'transfer-encoding').length > 0) return 'chunked';
  if (values(message, 'content-length').length > 0) return 'length';
  return isResponse ? 'until-close' : 'none';
}

/** Reads the whole body that a head announces. */
export async function readBody(
  reader: ByteReader,
  message: Pick<Message, 'startLine' | 'headers'>,
  requestMethod?: string,
): Promise<Pick<Message, 'body' | 'trailers' | 'complete'>> {
  switch (framingOf(message, requestMethod)) {
    case 'none':
      return { body: Buffer.alloc(0), trailers: [], complete: true };
    case 'until-close':
      return { body: await reader.rest(), trailers: [], complete: true };
    case 'length': {
      const length = Number(values(message, 'content-length')[0]);
      const body = await reader.take(length);
      return { body, trailers: [], complete: body.length === length };
    }
    case 'chunked':
      return readChunks(reader);
  }
}

async function readChunks(reader: ByteReader): Promise<Pick<Message, 'body' | 'trailers' | 'complete'>> {
  const chunks: Buffer[] = [];
  const ended = (complete: boolean, trailers: string[] = []) => ({
    body: Buffer.concat(chunks),
    trailers,
    complete,
  });
  for (;;) {
    const line = await reader.until('\r\n');
    if (line === null) return ended(false);
    const size = parseInt(line, 16);
    if (size === 0) break;
    const chunk = await reader.take(size);
    chunks.push(chunk);
    if (chunk.length < size || (await reader.until('\r\n')) === null) return ended(false);
  }
  const trailers: string[] = [];
  for (;;) {
    const line = await reader.until('\r\n');
    if (line === null) return ended(false, trailers);
    if (line === '\r\n') return ended(true, trailers);
    trailers.push(line.slice(0, -2));
  }
}
