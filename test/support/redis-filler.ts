// Fills the cache until it is killed: node redis-filler.js ADDRESS SEED
import { createTrace } from '../contract/lru.ts';
import { openTestStore } from './redis-store.ts';

const [address = '', seed = '1'] = process.argv.slice(2);
const { store, trusted } = openTestStore({ address });
await trusted();
let steps = 0;
// Many at a time, so that it dies in the middle of a write.
await Promise.all(
  Array.from({ length: 20 }, async (_, i) => {
    for (;;) {
      for (const { slot, bytes } of createTrace(2000, Number(seed) + i)) {
        const lookup = await store.lookup(slot);
        if (lookup.kind === 'absent') await store.fill(slot, lookup.ticket, Buffer.alloc(bytes), 0);
        steps += 1;
        if (steps === 2000) console.log('filling');
      }
    }
  }),
);
