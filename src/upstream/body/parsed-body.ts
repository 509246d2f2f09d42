import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RelayBudget } from './relay-budget.ts';

export type ParsedBodyOptions = {
  readonly incoming: IncomingMessage;
  readonly res: ServerResponse;
  readonly budget: RelayBudget;
  /** Called with the size of each forwarded piece. */
  readonly onBytes: (bytes: number) => void;
};

/** A body that Node's parser delivers, from chunks or over TLS. */
export type ParsedBody = {
  /** Whether bytes wait for the client to read. */
  waitsForClient(): boolean;
};

/** Larger pieces gain nothing, in bytes: measured. */
const maxWindowBytes = 256 * 1024;

/**
 * Forwards the body of an answer, and stops reading while too much of it waits for the client. Does what `pipe` does,
 * with a bound that depends on what waits on all connections.
 */
export function relayParsed({ incoming, res, budget, onBytes }: ParsedBodyOptions): ParsedBody {
  let waitingBytes = 0;
  let isOver = false;

  const release = (bytes: number) => {
    if (isOver) return;
    waitingBytes -= bytes;
    budget.give(bytes);
  };
  // Not every write of a cut connection calls back.
  res.once('close', () => {
    release(waitingBytes);
    isOver = true;
  });
  incoming.on('data', (chunk: Buffer) => {
    if (isOver) return;
    const bytes = chunk.length;
    const windowBytes = Math.min(maxWindowBytes, budget.pieceBytes());
    waitingBytes += bytes;
    budget.take(bytes);
    onBytes(bytes);
    res.write(chunk, () => {
      release(bytes);
      if (!isOver && waitingBytes === 0) incoming.resume();
    });
    if (waitingBytes >= windowBytes) incoming.pause();
  });
  return { waitsForClient: () => waitingBytes > 0 };
}
