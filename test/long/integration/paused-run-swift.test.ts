import { testPausedRun } from './paused-run.ts';

testPausedRun('Swift');
