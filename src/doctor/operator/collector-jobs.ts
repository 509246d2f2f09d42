import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ok, quoteForeign, warning, type Finding } from '../finding.ts';

/** Where jobs are written that run by themselves: crontabs, and units of systemd. */
const folders = [
  '/etc',
  '/etc/cron.d',
  '/etc/cron.hourly',
  '/etc/cron.daily',
  '/etc/cron.weekly',
  '/etc/cron.monthly',
  '/var/spool/cron',
  '/var/spool/cron/crontabs',
  '/etc/systemd/system',
  '/usr/lib/systemd/system',
];
const maxBytes = 262_144;
const maxFiles = 5000;

export type CollectorJob = { readonly place: string; readonly deletesUntagged: boolean };

/** Finds jobs of this machine that run the registry's own collector. */
export async function findCollectorJobs(root = '/'): Promise<CollectorJob[]> {
  const jobs: CollectorJob[] = [];
  let files = 0;
  for (const folder of folders) {
    const names = await readdir(join(root, folder)).catch(() => []);
    for (const name of folder === '/etc' ? names.filter((each) => each === 'crontab') : names) {
      files += 1;
      if (files > maxFiles) return jobs;
      const path = join(root, folder, name);
      jobs.push(...findCollectorLines(path, await readSome(path)));
    }
  }
  return jobs;
}

export function findCollectorLines(path: string, text: string): CollectorJob[] {
  return text.split('\n').flatMap((line, index) => {
    if (/^\s*[#;]/.test(line) || !line.includes('garbage-collect')) return [];
    return [
      {
        place: `${path}:${index + 1}`,
        deletesUntagged: /garbage-collect.*\s(?:-m|--delete-untagged)\b/.test(line),
      },
    ];
  });
}

/** Judges them: the registry's collector, beside a registry that serves, breaks what is pushed meanwhile. */
export function judgeCollectorJobs(jobs: readonly CollectorJob[]): Finding {
  const check = 'clean.collectors';
  const fix = 'remove that job: tidegate clean run does its work while the registry serves';
  const untagged = jobs.find(({ deletesUntagged }) => deletesUntagged);
  if (untagged !== undefined)
    return warning(
      check,
      `${quoteForeign(untagged.place)} runs garbage-collect with --delete-untagged: distribution 2.8 then deletes images of several platforms, and all of them what is pushed meanwhile.`,
      fix,
    );
  const [job] = jobs;
  if (job !== undefined)
    return warning(
      check,
      `${quoteForeign(job.place)} runs garbage-collect: unless the registry is stopped or read-only then, images that are pushed meanwhile break.`,
      fix,
    );
  return ok(check, "No crontab and no unit that can be read here runs the registry's own collector.");
}

async function readSome(path: string): Promise<string> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!(await file.stat()).isFile()) return '';
      const { bytesRead, buffer } = await file.read(Buffer.alloc(maxBytes), 0, maxBytes, 0);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch {
    return '';
  }
}
