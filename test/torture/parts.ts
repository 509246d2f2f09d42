import { clientFaults } from './parts/client-faults.ts';
import { supplyChain } from './parts/supply-chain.ts';
import { tls } from './parts/tls.ts';
import { upstreamFaults } from './parts/upstream-faults.ts';
import type { Part } from './trial.ts';

/** Every part, in the order in which they run. Each has a test of its name in `quick/` too. */
export const parts: readonly Part[] = [upstreamFaults, clientFaults, tls, supplyChain];
