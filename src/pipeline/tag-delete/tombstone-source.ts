import { hash, randomBytes } from 'node:crypto';
import { setImmediate as nextLoopIteration } from 'node:timers/promises';
import { mayBeTombstone, writeTombstone, type Tombstone } from '../../registry/tombstone.ts';

/** How long the search keeps the event loop at a time, in milliseconds. */
const sliceMs = 3;
const triesAtOnce = 256;

/** A source of tombstones, each new. Their digests all begin alike, which takes some 65,536 tries (0.1 s). */
export type TombstoneSource = {
  /** Resolves when one is at hand. */
  readonly prepare: () => Promise<void>;
  /** Takes one; the next is then looked for. */
  readonly take: () => Promise<Tombstone>;
};

export function createTombstoneSource(): TombstoneSource {
  let next: Promise<Tombstone> | null = null;
  return {
    prepare: async () => {
      await (next ??= findTombstone());
    },
    take: () => {
      const found = next ?? findTombstone();
      next = found.then(findTombstone);
      return found;
    },
  };
}

async function findTombstone(): Promise<Tombstone> {
  const unique = randomBytes(16).toString('hex');
  let tries = 0;
  for (;;) {
    const untilMs = performance.now() + sliceMs;
    do {
      for (const end = tries + triesAtOnce; tries < end; tries += 1) {
        const text = writeTombstone(unique + tries.toString(16).padStart(8, '0'));
        const digest = `sha256:${hash('sha256', text)}`;
        if (mayBeTombstone(digest)) return { digest, body: Buffer.from(text) };
      }
    } while (performance.now() < untilMs);
    await nextLoopIteration();
  }
}
