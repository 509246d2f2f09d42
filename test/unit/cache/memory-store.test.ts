import { createMemoryStore } from '../../../src/cache/stores/memory-store.ts';
import { describeCacheStore } from '../../contract/cache-store.ts';

describeCacheStore({
  name: 'memory',
  skip: false,
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
  open: (limits) => {
    let nowMs = 0;
    const store = createMemoryStore(limits, () => nowMs);
    return Promise.resolve({
      writer: store,
      filler: store,
      reader: store,
      pass: (ms) => {
        nowMs += ms;
        return Promise.resolve();
      },
      close: () => store.close(),
    });
  },
});
