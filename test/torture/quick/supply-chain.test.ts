import { supplyChain } from '../parts/supply-chain.ts';
import { testPart } from '../test-part.ts';

testPart(supplyChain);
