import { fuzzing } from '../../../torture/parts/fuzzing.ts';
import { testPart } from './test-part.ts';

testPart(fuzzing);
