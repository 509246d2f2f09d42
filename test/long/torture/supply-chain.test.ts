import { supplyChain } from '../../../torture/parts/supply-chain.ts';
import { testPart } from './test-part.ts';

testPart(supplyChain);
