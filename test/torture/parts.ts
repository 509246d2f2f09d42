import { attacks } from './parts/attacks.ts';
import { fuzzing } from './parts/fuzzing.ts';
import { supplyChain } from './parts/supply-chain.ts';
import { tls } from './parts/tls.ts';
import type { Part } from './trial.ts';

/** Every part, in the order in which they run. Each has a test of its name in `quick/` too. */
export const parts: readonly Part[] = [attacks, fuzzing, tls, supplyChain];
