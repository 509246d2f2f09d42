import { testPausedRun } from './paused-run.ts';

testPausedRun('a folder');
