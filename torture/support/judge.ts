import type { LoadAnswer } from './load-client.ts';
import { createTally, type Tally } from './tally.ts';

/** Separates failures that a deliberate trouble explains from findings. */
export type Judge = {
  /** Begins a trouble in which requests may fail; the returned function ends it. */
  begin(trouble: string): () => void;
  /** Judges a failure: an answer, or a connection that broke. */
  failed(what: string, failure: LoadAnswer | Error, startMs: number): void;
  /** Records a finding. */
  fault(what: string): void;
  /** Whether such a trouble was in progress at any time in this interval. */
  explains(startMs: number, endMs: number): boolean;
  readonly faults: readonly string[];
  readonly explained: Tally;
};

/** A client can learn of a reset this much later than it happened: this process is busy, too. In milliseconds. */
const lateMs = 1000;
const maxFaults = 20;

export function createJudge(): Judge {
  const troubles: { readonly name: string; readonly startMs: number; endMs: number }[] = [];
  const faults: string[] = [];
  const explained = createTally();
  const find = (startMs: number, endMs: number) =>
    troubles.find((trouble) => trouble.startMs < endMs && startMs < trouble.endMs + lateMs);
  const fault = (what: string) => {
    if (faults.length < maxFaults) faults.push(what);
  };
  return {
    begin: (name) => {
      const trouble = { name, startMs: performance.now(), endMs: Infinity };
      troubles.push(trouble);
      return () => {
        trouble.endMs = performance.now();
      };
    },
    failed: (what, failure, startMs) => {
      const trouble = find(startMs, performance.now());
      const isError = failure instanceof Error;
      const status = isError ? 0 : failure.status;
      if (trouble && (isError || status === 502 || status === 503)) {
        explained.count(isError ? `connections cut (${trouble.name})` : `${status} (${trouble.name})`);
      } else if (!isError && status === 503 && what.startsWith('DELETE ') && isUnsureDelete(failure)) {
        explained.count('503 to deletes (Redis had been away: docs/design/deletes.md)');
      } else if (!isError && status === 500 && what.includes('/manifests/') && !isOurs(failure)) {
        // The registry itself answers 500 where a tag is written and deleted at the same time.
        explained.count("500 of the registry's own (a tag written and deleted at once)");
      } else {
        const text = isError ? String(failure) : `${status} ${failure.body.toString().slice(0, 300)}`;
        fault(`${what}: ${text}`);
      }
    },
    fault,
    explains: (startMs, endMs) => find(startMs, endMs) !== undefined,
    faults,
    explained,
  };
}

/** A delete that could not be alone in its repository for sure is refused, also for a little after Redis is back. */
const isUnsureDelete = ({ body }: LoadAnswer): boolean => body.includes('so nothing was deleted');

/** Tidegate's own errors carry a request id. */
const isOurs = ({ body }: LoadAnswer): boolean => body.includes('"detail":"request id ');
