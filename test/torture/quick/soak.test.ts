import { soak } from '../parts/soak.ts';
import { testPart } from '../test-part.ts';

testPart(soak);
