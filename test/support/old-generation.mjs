// Preloaded into a program: adds up by how much its old generation grows, and writes that, in bytes, to the file that
// OLD_GENERATION_FILE names when it gets SIGUSR2.
import { writeFileSync } from 'node:fs';
import { getHeapSpaceStatistics } from 'node:v8';
import { isMainThread } from 'node:worker_threads';

/** Where objects and hidden classes that survive are; V8 has moved the classes into old_space since. */
const old = new Set(['old_space', 'map_space']);
const usedBytes = () =>
  getHeapSpaceStatistics().reduce(
    (sum, { space_name, space_used_size }) => sum + (old.has(space_name) ? space_used_size : 0),
    0,
  );

if (isMainThread) {
  let grownBytes = 0;
  let lastBytes = usedBytes();
  const look = () => {
    const bytes = usedBytes();
    grownBytes += Math.max(0, bytes - lastBytes);
    lastBytes = bytes;
  };
  setInterval(look, 20).unref();
  process.on('SIGUSR2', () => {
    look();
    writeFileSync(process.env['OLD_GENERATION_FILE'], String(grownBytes));
  });
}
