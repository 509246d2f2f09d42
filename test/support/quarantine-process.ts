import { disk } from '../../src/clean/quarantine/disk.ts';
import { purgeEverything, takeEverything, undoEverything, watchDisk } from './quarantine-steps.ts';

/** Takes, undoes or purges everything in a storage, and kills itself before a step: `ROOT WORK STEP`. */
const [root = '', work = '', step = ''] = process.argv.slice(2);
let left = Number(step);
const mortal = watchDisk(disk, () => {
  left -= 1;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
});
const works = { take: takeEverything, undo: undoEverything, purge: purgeEverything };
await works[work as keyof typeof works](root, mortal);
