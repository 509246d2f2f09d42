import { fuzzing } from '../parts/fuzzing.ts';
import { testPart } from '../test-part.ts';

testPart(fuzzing);
