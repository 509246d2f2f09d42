import { clientFaults } from '../../../torture/parts/client-faults.ts';
import { testPart } from './test-part.ts';

testPart(clientFaults, 'docker-registry');
