/** What a write made of a tag or digest: a version, or nothing any more. */
export type Version = number | null;

/** Times in milliseconds of one clock: from before the request was sent until after its answer had come. */
type Span = { readonly startMs: number; readonly endMs: number };

export type Write = Span & {
  readonly value: Version;
  /** False: it failed, and may or may not have been done, now or later. */
  readonly acknowledged: boolean;
  /** A delete by digest ends only this version. */
  readonly ends?: number;
};

export type Read = Span & {
  readonly value: Version;
  /** Which front door was asked, and what it said of its cache. */
  readonly via: string;
  readonly cache: string;
};

/** Everything that was done to one tag or one digest, which began as nothing. */
export type History = { readonly name: string; readonly writes: Write[]; readonly reads: Read[] };

/** A read that gave what an acknowledged write had ended before it began; or what nobody had written. */
export type Violation = {
  readonly name: string;
  readonly read: Read;
  /** How long before the read the write was acknowledged that it should have seen, in milliseconds. */
  readonly staleMs: number;
};

/**
 * Checks each read against the promise: it gives a value whose write no other write has followed that was
 * acknowledged before the read began. Of writes that overlap each other, either may have been the last.
 */
export function findViolations({ name, writes, reads }: History): Violation[] {
  const start: Write = { value: null, acknowledged: true, startMs: -Infinity, endMs: -Infinity };
  const ended = (by: Write, write: Write) =>
    by.acknowledged &&
    by.startMs > (write.acknowledged ? write.endMs : Infinity) &&
    (by.ends === undefined || by.ends === write.value);
  return reads.flatMap((read) => {
    const sources = [start, ...writes].filter(
      (write) => write.value === read.value && write.startMs < read.endMs,
    );
    const staleness = sources.map((source) =>
      Math.max(
        -Infinity,
        ...writes
          .filter((write) => write.endMs < read.startMs && ended(write, source))
          .map((write) => read.startMs - write.endMs),
      ),
    );
    const staleMs = Math.min(Infinity, ...staleness);
    if (staleMs === -Infinity) return [];
    // The registry replaces a tag by emptying its file first: for an instant there is none.
    const replacing = writes.some((write) => write.startMs < read.endMs && write.endMs > read.startMs);
    return read.value === null && replacing ? [] : [{ name, read, staleMs }];
  });
}
