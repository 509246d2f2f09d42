import { attacks } from '../../../torture/parts/attacks.ts';
import { testPart } from './test-part.ts';

testPart(attacks);
