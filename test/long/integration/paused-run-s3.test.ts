import { testPausedRun } from './paused-run.ts';

testPausedRun('S3');
