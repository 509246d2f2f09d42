import type { Duplex } from 'node:stream';

/** Takes a stream apart byte by byte, at the reader's own pace: what is not asked for is not read. */
export type ByteReader = {
  /** Up to and including the delimiter, as Latin-1; null when the stream ended before it. */
  until(delimiter: string): Promise<string | null>;
  /** Exactly so many bytes, or fewer when the stream ended before. */
  take(length: number): Promise<Buffer>;
  /** Reads exactly so many bytes and keeps none of them; gives how many there were before the end. */
  discard(length: number): Promise<number>;
  /** What is there next; null at the end. */
  some(): Promise<Buffer | null>;
  /** All up to the end. */
  rest(): Promise<Buffer>;
};

/** Builds a reader; a reset ends the stream as a regular end does, since both are an end for what was to come. */
export function createByteReader(stream: Duplex): ByteReader {
  let buffered: Buffer = Buffer.alloc(0);
  let ended = false;
  let wake = () => {};
  const end = () => {
    ended = true;
    wake();
  };
  stream.on('readable', () => wake());
  stream.on('end', end);
  stream.on('close', end);
  stream.on('error', end);

  const more = async (): Promise<boolean> => {
    for (;;) {
      const chunk = stream.read() as Buffer | null;
      if (chunk !== null) {
        buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
        return true;
      }
      if (ended) return false;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  const cut = (length: number): Buffer => {
    const taken = buffered.subarray(0, length);
    buffered = buffered.subarray(length);
    return taken;
  };

  return {
    until: async (delimiter) => {
      for (;;) {
        const at = buffered.indexOf(delimiter, 0, 'latin1');
        if (at !== -1) return cut(at + delimiter.length).toString('latin1');
        if (!(await more())) return null;
      }
    },
    take: async (length) => {
      while (buffered.length < length && (await more()));
      return cut(length);
    },
    discard: async (length) => {
      let left = length;
      while (left > 0 && (buffered.length > 0 || (await more()))) left -= cut(left).length;
      return length - left;
    },
    some: async () => {
      if (buffered.length === 0 && !(await more())) return null;
      return cut(buffered.length);
    },
    rest: async () => {
      while (await more());
      return cut(buffered.length);
    },
  };
}
