import { attacks } from './parts/attacks.ts';
import { clientFaults } from './parts/client-faults.ts';
import { fuzzing } from './parts/fuzzing.ts';
import { redisAndDisk } from './parts/redis-and-disk.ts';
import { soak } from './parts/soak.ts';
import { supplyChain } from './parts/supply-chain.ts';
import { tls } from './parts/tls.ts';
import { upstreamFaults } from './parts/upstream-faults.ts';
import type { Part } from './trial.ts';

/** Every part, in the order in which they run. Each has a test of its name in `quick/` too. */
export const parts: readonly Part[] = [
  upstreamFaults,
  clientFaults,
  redisAndDisk,
  attacks,
  fuzzing,
  soak,
  tls,
  supplyChain,
];
