import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { tryCleanedHistory, untilCleaned } from '../../support/cleaned-history.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const skip = unlessInstalled('docker-registry', 'redis-server');

test(
  'nothing is lost while one front door after the other is restarted, and every other time killed',
  { skip },
  (t) => {
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
  },
);
