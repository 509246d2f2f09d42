/** Cuts what arrives into lines; null stands for one that is too long, and nothing may be read after it. */
export type LineReader = { read(piece: Buffer): Generator<string | null> };

export function createLineReader(maxBytes: number): LineReader {
  /** The beginning of a line, in one buffer that grows: a peer may send it byte by byte. */
  let kept = Buffer.alloc(0);
  let bytes = 0;
  const keep = (piece: Buffer): void => {
    const needed = bytes + piece.length;
    if (needed > kept.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * kept.length, needed));
      kept.copy(larger, 0, 0, bytes);
      kept = larger;
    }
    piece.copy(kept, bytes);
    bytes = needed;
  };
  return {
    *read(piece) {
      let rest = piece;
      for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
        if (bytes + end > maxBytes) {
          yield null;
          return;
        }
        keep(rest.subarray(0, end));
        const line = kept.toString('utf8', 0, bytes);
        kept = Buffer.alloc(0);
        bytes = 0;
        yield line;
        rest = rest.subarray(end + 1);
      }
      if (bytes + rest.length > maxBytes) yield null;
      else keep(rest);
    },
  };
}
