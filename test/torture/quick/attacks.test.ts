import { attacks } from '../parts/attacks.ts';
import { testPart } from '../test-part.ts';

testPart(attacks);
