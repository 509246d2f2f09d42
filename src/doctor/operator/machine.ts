import { access, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { Config } from '../../config/schema/schema.ts';
import { count, ok, skipped, warning, type Finding } from '../finding.ts';

/** Descriptors of log, htpasswd file, libraries and threads. */
const otherFiles = 200;
/** Files that clock services make under /run. */
const clockServices: readonly (readonly [string, string])[] = [
  ['/run/systemd/timesync/synchronized', 'systemd-timesyncd'],
  ['/run/chrony/chronyd.pid', 'chrony'],
  ['/run/chronyd.pid', 'chrony'],
  ['/run/ntpd.pid', 'ntpd'],
];

type MachineConfig = Pick<Config, 'workers' | 'limits' | 'cache'>;

/** Compares the machine's limits with what the configuration needs. */
export async function checkMachine(config: MachineConfig): Promise<Finding[]> {
  const limits = await readFile('/proc/self/limits', 'latin1').catch(() => '');
  return [
    judgeOpenFiles(parseOpenFiles(limits), config),
    judgeWorkers(config, availableParallelism()),
    judgeClockService(await findClockService()),
  ];
}

/**
 * Reads the most files that a process of this user may open, from proc(5)'s limits; null if unknown, Infinity for no
 * limit.
 */
export function parseOpenFiles(limits: string): number | null {
  const [, hard] = /^Max open files\s+\S+\s+(\S+)/m.exec(limits) ?? [];
  if (hard === undefined) return null;
  return hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
}

/** Judges whether limits.connections fit into the open files of each worker; Node takes the hard limit by itself. */
export function judgeOpenFiles(hardLimit: number | null, { workers, limits }: MachineConfig): Finding {
  const check = 'machine.open-files';
  if (hardLimit === null) return skipped(check, 'How many files a process may open is not known here.');
  // Each client connection may need another to the registry.
  const wanted = 2 * Math.ceil(limits.connections / workers) + otherFiles;
  const shown = `A process started from here may open ${hardLimit} files; with limits.connections: ${limits.connections} each worker may want ${wanted}`;
  return hardLimit >= wanted
    ? ok(check, `${shown}.`)
    : warning(
        check,
        `${shown}.`,
        `LimitNOFILE=${wanted} in the unit (systemctl edit tidegate), or fewer limits.connections`,
      );
}

/** Judges the number of workers, and each one's share of a cache in memory. */
export function judgeWorkers({ workers, cache }: MachineConfig, cores: number): Finding {
  const check = 'machine.workers';
  const shown = `${count(workers, 'worker')} on ${count(cores, 'core')}`;
  if (workers > 2 * cores) return warning(check, `${shown}: more than two for each core.`, 'workers: auto');
  const share = Math.floor(cache.maxBytes / workers);
  if (cache.driver === 'memory' && share < cache.maxEntryBytes) {
    return warning(
      check,
      `${shown}, and each has ${share} bytes of the cache, less than cache.maxEntryBytes.`,
      `cache.maxBytes: ${Math.ceil((cache.maxEntryBytes * workers) / 1024 ** 2)}MiB`,
    );
  }
  return ok(check, `${shown}.`);
}

/** Judges what synchronizes the clock; null: nothing known was found. */
export function judgeClockService(service: string | null): Finding {
  const check = 'machine.clock';
  return service === null
    ? skipped(
        check,
        'Nothing was found that synchronizes the clock; in a container the host does.',
        'timedatectl set-ntp true',
      )
    : ok(check, `The clock is synchronized by ${service}.`);
}

async function findClockService(): Promise<string | null> {
  for (const [path, name] of clockServices) {
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) return name;
  }
  return null;
}
