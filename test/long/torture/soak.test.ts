import { soak } from '../../../torture/parts/soak.ts';
import { testPart } from './test-part.ts';

testPart(soak);
