import { redisAndDisk } from '../parts/redis-and-disk.ts';
import { testPart } from '../test-part.ts';

testPart(redisAndDisk);
