import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RelayBudget } from './relay-budget.ts';

export type ParsedBodyOptions = {
  readonly incoming: IncomingMessage;
  readonly res: ServerResponse;
  readonly budget: RelayBudget;
  /** Called with the size of each piece as it is passed on. */
  readonly onBytes: (bytes: number) => void;
};

/** A body that Node's parser takes out of its chunks, or of TLS, on its way to the client. */
export type ParsedBody = {
  /** Whether the client has yet to take what has been read. */
  waitsForClient(): boolean;
};

/** Beyond this a larger piece is of no use, in bytes: measured. */
const maxWindowBytes = 256 * 1024;

/**
 * Passes the body of an answer on, and reads no more while too much of it waits for the client: what a `pipe` does, but that the bound follows
 * from what waits on all connections.
 */
export function relayParsed({ incoming, res, budget, onBytes }: ParsedBodyOptions): ParsedBody {
  let waitingBytes = 0;
  let isOver = false;

  const release = (bytes: number) => {
    if (isOver) return;
    waitingBytes -= bytes;
    budget.give(bytes);
  };
  // Not every write of a connection that is cut calls back.
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
