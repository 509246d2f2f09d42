import { describe, test } from 'node:test';
import { tryCleanedHistory } from '../../support/cleaned-history.ts';
import { unlessInstalled } from '../../support/requirement.ts';

describe(
  'a registry that is cleaned while it is used loses nothing',
  { skip: unlessInstalled('docker-registry') },
  () => {
    for (const remembersBlobs of [false, true])
      test(`with its descriptor cache ${remembersBlobs ? 'in memory' : 'off'}`, (t) =>
        tryCleanedHistory(t, { remembersBlobs }));
  },
);
