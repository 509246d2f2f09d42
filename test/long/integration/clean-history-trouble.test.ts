import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { tryCleanedHistory, untilCleaned, untilInRun } from '../../support/cleaned-history.ts';
import { stop } from '../../support/processes.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const skip = unlessInstalled('docker-registry', 'redis-server');

describe('a registry with two front doors that is cleaned while it is used loses nothing', { skip }, () => {
  test('while one front door after the other is restarted, and every other time killed', (t) => {
    let times = 0;
    return tryCleanedHistory(t, {
      remembersBlobs: true,
      frontDoors: 2,
      trouble: async (programs, signal) => {
        // No run is possible for some seconds after one was killed: it may serve on.
        if (times > 0) await untilCleaned(programs, signal);
        await pause(programs.random() * 1000);
        await programs.endFrontDoor(times % 2 === 0 ? 'SIGINT' : 'SIGKILL');
        times += 1;
        await programs.startFrontDoor();
      },
    });
  });

  test('while the cleaner is killed in the middle of runs', (t) =>
    tryCleanedHistory(t, {
      remembersBlobs: true,
      frontDoors: 2,
      trouble: async (programs, signal) => {
        await untilInRun(programs, signal);
        await pause(programs.random() * 500);
        await stop(programs.cleaner.process, 'SIGKILL');
        await programs.startCleaner();
      },
    }));
});
