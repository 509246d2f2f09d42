import { collectPaused } from '../../src/clean/paused/collect-paused.ts';
import { createDirectDoors } from './direct-doors.ts';
import { startTestCleaner, testGraceMs } from './test-cleaner.ts';

/** A cleaner in a process of its own, to be killed. Argument: the options as JSON. */
const options = JSON.parse(process.argv[2] ?? '') as {
  /** The folder of its socket, to which front doors connect; null: it speaks with the registry itself. */
  dir: string | null;
  url: string;
  collector: string[];
  restart: string[];
  maxPauseMs: number;
};
const { dir, url, collector, restart, maxPauseMs } = options;
const nothing = () => {};
const cleaner = dir === null ? null : await startTestCleaner({ dir });
await cleaner?.untilConnected();
await collectPaused({
  ...{ doors: cleaner?.doors ?? createDirectDoors(url), collector, restart, maxPauseMs },
  logger: { info: nothing, warn: nothing, error: nothing },
  onProgress: nothing,
  signal: new AbortController().signal,
  // Nothing was used lately.
  now: () => Date.now() + 2 * testGraceMs,
});
