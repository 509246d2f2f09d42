import type { Duplex } from 'node:stream';

/** Reads a stream on demand, with back-pressure: it reads only the bytes that are asked for. */
export type ByteReader = {
  /** Reads up to and including the delimiter, as Latin-1; null if the stream ends before it. */
  until(delimiter: string): Promise<string | null>;
  /** Reads exactly so many bytes, or fewer if the stream ends before. */
  take(length: number): Promise<Buffer>;
  /** Discards exactly so many bytes, or fewer at the end; returns how many. */
  discard(length: number): Promise<number>;
  /** Reads the bytes that are available next; null at the end. */
  some(): Promise<Buffer | null>;
  /** Reads up to the end. */
  rest(): Promise<Buffer>;
};

/** Creates a reader. It treats a reset like a regular end of the stream. */
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

  // Parts are joined once: else each of a large body would be copied for every one that follows.
  const take: ByteReader['take'] = async (length) => {
    const parts = [cut(length)];
    let left = length - (parts[0]?.length ?? 0);
    while (left > 0 && (await more())) {
      const part = cut(left);
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  };

  return {
    until: async (delimiter) => {
      for (;;) {
        const at = buffered.indexOf(delimiter, 0, 'latin1');
        if (at !== -1) return cut(at + delimiter.length).toString('latin1');
        if (!(await more())) return null;
      }
    },
    take,
    discard: async (length) => {
      let left = length;
      while (left > 0 && (buffered.length > 0 || (await more()))) left -= cut(left).length;
      return length - left;
    },
    some: async () => {
      if (buffered.length === 0 && !(await more())) return null;
      return cut(buffered.length);
    },
    rest: () => take(Infinity),
  };
}
