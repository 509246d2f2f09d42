import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { CollectedBytes } from '../../system/collected-bytes.ts';

/** A request's body that is observed while it passes. */
export type ObservedBody = {
  bytes(): number;
  /** Call each of these two once, when all of it has passed. The sha256 digest: */
  digest(): string;
  /** Its bytes; null: it was too large to be kept, or there was no room. */
  read(): Buffer | null;
  /** Forgets what is kept of it. */
  drop(): void;
};

/**
 * Begins to observe a request's body. Call it just after its reading has begun, in the same turn of the event loop:
 * otherwise it would start the body before the upstream request has its socket.
 */
export type ObserveBody = (req: IncomingMessage) => ObservedBody;

/** @param options the largest body that is kept, and how much is kept of all together, in bytes */
export function createBodyObserver(options: {
  readonly maxBytes: number;
  readonly maxKeptBytes: number;
}): ObserveBody {
  let keptBytes = 0;
  return (req) => {
    const hash = createHash('sha256');
    let bytes = 0;
    let kept: CollectedBytes | null = new CollectedBytes();
    const drop = () => {
      keptBytes -= kept?.heldBytes ?? 0;
      kept = null;
    };
    req.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      hash.update(chunk);
      if (kept === null) return;
      const before = kept.heldBytes;
      kept.add(chunk); // copied, since the memory of the chunk itself is given back
      keptBytes += kept.heldBytes - before;
      if (bytes > options.maxBytes || keptBytes > options.maxKeptBytes) drop();
    });
    return {
      bytes: () => bytes,
      digest: () => `sha256:${hash.digest('hex')}`,
      read: () => {
        const body = kept?.read() ?? null;
        drop();
        return body;
      },
      drop,
    };
  };
}
