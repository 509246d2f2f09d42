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
  /** What all bodies together should hold, in bytes. */
  readonly totalBytes: number;
  /** What a body gets at least, and at most, in bytes. */
  readonly minBytes: number;
  readonly maxBytes: number;
};

/** How many buffers are kept for the next body. */
const maxFree = 8;

/**
 * Builds what hands memory to bodies: large buffers while there are few bodies, smaller ones the more there are, so that many slow
 * readers at once hold little. Gives what opens a body.
 */
export function createBodyBuffers({ totalBytes, minBytes, maxBytes }: BodyBuffersOptions): () => BodyBuffers {
  const free: Buffer[] = [];
  let bodies = 0;
  const sizeNow = () => {
    let bytes = maxBytes;
    while (bytes > minBytes && bytes * bodies > totalBytes) bytes /= 2;
    return bytes;
  };
  return () => {
    bodies += 1;
    return {
      take: () => {
        const bytes = sizeNow();
        for (let buffer = free.pop(); buffer; buffer = free.pop()) if (buffer.length === bytes) return buffer;
        return Buffer.allocUnsafeSlow(bytes);
      },
      giveBack: (buffer) => {
        if (free.length < maxFree && buffer.length === sizeNow()) free.push(buffer);
      },
      close: () => (bodies -= 1),
    };
  };
}
