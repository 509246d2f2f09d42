import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';

/** The longest line that is read, in bytes: longer than any line of the log. */
export const maxLineBytes = 256 * 1024;

const lineFeed = 0x0a;

/**
 * Reads the lines of a log as a stream, gzipped or not, with no more memory than the longest line takes. Skips empty
 * lines; null stands for one that is too long.
 */
export async function* readLogLines(source: Readable): AsyncGenerator<string | null> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  let isTooLong = false;
  const take = (last: Buffer): string | null => {
    const text = isTooLong
      ? null
      : Buffer.concat([...rest, last])
          .toString('utf8')
          .trim();
    rest = [];
    restBytes = 0;
    isTooLong = false;
    return text;
  };
  for await (const chunk of await unpack(source)) {
    let start = 0;
    for (let end = chunk.indexOf(lineFeed); end !== -1; end = chunk.indexOf(lineFeed, start)) {
      if (restBytes + end - start > maxLineBytes) isTooLong = true;
      const line = take(chunk.subarray(start, end));
      if (line !== '') yield line;
      start = end + 1;
    }
    restBytes += chunk.length - start;
    if (restBytes > maxLineBytes) {
      isTooLong = true;
      rest = [];
    } else rest.push(chunk.subarray(start));
  }
  const line = take(Buffer.alloc(0));
  if (line !== '') yield line;
}

/** RFC 1952 section 2.3.1: the first bytes of a gzip file. */
const gzipMark = Buffer.from([0x1f, 0x8b]);

async function unpack(source: Readable): Promise<AsyncIterable<Buffer>> {
  const chunks = source[Symbol.asyncIterator]() as AsyncIterableIterator<Buffer>;
  let begin = Buffer.alloc(0);
  while (begin.length < gzipMark.length) {
    const next = await chunks.next();
    if (next.done === true) break;
    begin = Buffer.concat([begin, next.value]);
  }
  const whole = Readable.from(join(begin, chunks), { objectMode: false });
  if (!begin.subarray(0, gzipMark.length).equals(gzipMark)) return whole as AsyncIterable<Buffer>;
  return pipeline(whole, createGunzip(), () => {});
}

async function* join(begin: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield begin;
  yield* rest;
}
