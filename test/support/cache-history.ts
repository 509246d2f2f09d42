/** The state of a tag or digest after a write: a version, or nothing after a delete. */
export type Version = number | null;

/** Times in milliseconds, by one clock: before the request was sent, and after its answer arrived. */
type Span = { readonly startMs: number; readonly endMs: number };

export type Write = Span & {
  readonly value: Version;
  /** False: it failed, but may still take effect, now or later. */
  readonly acknowledged: boolean;
  /** A delete by digest removes only this version. */
  readonly ends?: number;
};

export type Read = Span & {
  readonly value: Version;
  /** The instance that answered, and its X-Cache. */
  readonly via: string;
  readonly cache: string;
};

/** All operations on one tag or digest, which did not exist at first. */
export type History = { readonly name: string; readonly writes: Write[]; readonly reads: Read[] };

/** A stale read: its value was replaced by a write acknowledged before the read began, or nobody wrote it. */
export type Violation = {
  readonly name: string;
  readonly read: Read;
  /** The time from the acknowledgement of the write that it missed to the read, in milliseconds. */
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
    // The registry empties a tag's file before it writes the new one: for an instant the tag does not exist.
    const replacing = writes.some((write) => write.startMs < read.endMs && write.endMs > read.startMs);
    return read.value === null && replacing ? [] : [{ name, read, staleMs }];
  });
}
