import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { tryCleanedHistory, untilCleaned, untilInRun } from '../../support/cleaned-history.ts';
import { stop } from '../../support/processes.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const skip = unlessInstalled('docker-registry', 'redis-server');
/** Then runs are left to take something. */
const kills = 3;

test('nothing is lost while the cleaner is killed in the middle of runs', { skip }, (t) => {
  let times = 0;
  return tryCleanedHistory(t, {
    remembersBlobs: true,
    frontDoors: 2,
    trouble: async (programs, signal) => {
      if (times === kills) return untilCleaned(programs, signal);
      await untilInRun(programs, signal);
      await pause(programs.random() * 500);
      await stop(programs.cleaner.process, 'SIGKILL');
      times += 1;
      await programs.startCleaner();
    },
  });
});
