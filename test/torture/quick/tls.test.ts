import { tls } from '../parts/tls.ts';
import { testPart } from '../test-part.ts';

testPart(tls);
