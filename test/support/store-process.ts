import { setTimeout as delay } from 'node:timers/promises';
import { createMemoryStore } from '../../src/cache/stores/memory-store.ts';
import { createSharedMemoryStore } from '../../src/cache/stores/shared-memory-store.ts';
import type { CacheStore } from '../../src/cache/stores/store.ts';
import { createWorkerChannel } from '../../src/supervisor/workers/worker-channel.ts';
import type { FromParent, FromStore } from './store-processes.ts';

/* A process with a memory store that is one with those of others, as a worker has it; asked and told by messages. */

const send = (message: FromStore) => void process.send?.(message);
let store: CacheStore;
let passedMs = 0;
const peers = createWorkerChannel(send);

process.on('message', (message: FromParent) => {
  switch (message.kind) {
    case 'open': {
      for (const change of message.underWay) peers.act({ topic: 'write', body: { phase: 'begin', change } });
      const { limits, omission } = message;
      store = createSharedMemoryStore(
        createMemoryStore(limits, () => performance.now() + passedMs),
        {
          publish: (notice) => (omission === 'telling' ? Promise.resolve() : peers.writes.publish(notice)),
          subscribe: (listener) =>
            peers.writes.subscribe((notice) => {
              if (omission === 'acting before it says so') void delay(5).then(() => listener(notice));
              else listener(notice);
            }),
        },
      );
      send({ kind: 'opened' });
      break;
    }
    case 'call': {
      const { id, method, args } = message;
      if (method === 'pass') passedMs += Number(args[0]);
      const result =
        method === 'pass'
          ? Promise.resolve()
          : Promise.resolve((store[method] as (...args: unknown[]) => unknown)(...args));
      void result.then((value) => send({ kind: 'result', id, value }));
      break;
    }
    case 'notice':
    case 'delivered':
      peers.receive(message);
      break;
  }
});
process.on('disconnect', () => process.exit());
