import { upstreamFaults } from '../../../torture/parts/upstream-faults.ts';
import { testPart } from './test-part.ts';

testPart(upstreamFaults, 'docker-registry');
