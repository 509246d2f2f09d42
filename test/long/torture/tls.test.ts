import { tls } from '../../../torture/parts/tls.ts';
import { testPart } from './test-part.ts';

testPart(tls);
