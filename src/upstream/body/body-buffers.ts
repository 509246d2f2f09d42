/** The memory of one body on its way. */
export type BodyBuffers = {
  /** A buffer of the size that is right just now, with anything in it. */
  take(): Buffer;
  /** Gives back a buffer that nothing reads or writes any more. */
  giveBack(buffer: Buffer): void;
  /** The body is through. */
  close(): void;
};

export type BodyBuffersOptions = {
  /** The smallest and the largest buffer, in bytes; each size between them is twice the one before. */
  readonly minBytes: number;
  readonly maxBytes: number;
  /** What one buffer of each body should come to in all, in bytes. */
  readonly totalBytes: number;
};

/** How many buffers of one size a body gets before it gets larger ones. */
const buffersOfSize = 16;

/**
 * Builds what hands memory to bodies; its result opens one. Large buffers cost less time, small ones less memory: a body's grow as
 * it proceeds (a client that reads slowly does not get far), and all shrink as bodies become more.
 */
export function createBodyBuffers({ minBytes, maxBytes, totalBytes }: BodyBuffersOptions): () => BodyBuffers {
  /** What nobody uses just now, at most `totalBytes`; the last given back is at the end. */
  const free: Buffer[] = [];
  let freeBytes = 0;
  let bodies = 0;
  return () => {
    let taken = 0;
    bodies += 1;
    return {
      take: () => {
        let bytes = maxBytes;
        const grownBytes = minBytes * 2 ** Math.floor(taken++ / buffersOfSize);
        while (bytes > minBytes && (bytes > grownBytes || bytes * bodies > totalBytes)) bytes /= 2;
        const at = free.findLastIndex(({ length }) => length === bytes);
        const [buffer] = at === -1 ? [] : free.splice(at, 1);
        if (!buffer) return Buffer.allocUnsafeSlow(bytes);
        freeBytes -= bytes;
        return buffer;
      },
      giveBack: (buffer) => {
        free.push(buffer);
        freeBytes += buffer.length;
        while (freeBytes > totalBytes) freeBytes -= free.shift()?.length ?? 0;
      },
      close: () => {
        bodies -= 1;
      },
    };
  };
}
