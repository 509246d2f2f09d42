import { redisAndDisk } from '../../../torture/parts/redis-and-disk.ts';
import { testPart } from './test-part.ts';

testPart(redisAndDisk);
