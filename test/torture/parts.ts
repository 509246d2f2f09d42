import { supplyChain } from './parts/supply-chain.ts';
import { tls } from './parts/tls.ts';
import type { Part } from './trial.ts';

/** Every part, in the order in which they run. Each has a test of its name in `quick/` too. */
export const parts: readonly Part[] = [tls, supplyChain];
