import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { linksEach, makeLargeStorage } from '../large-storage.mjs';
import { atMost } from '../report.mjs';
import { digits, median, spread } from '../statistics.mjs';

const script = fileURLToPath(new URL('../scan-process.mjs', import.meta.url));

/**
 * Measures how long the clean-up takes to read a storage and to mark what its tags hold.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureCleanScan(_rig, { quick, rounds }) {
  const repositories = quick ? 1000 : 10_000;
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-clean-scan-'));
  const results = [];
  try {
    makeLargeStorage(root, repositories);
    for (let round = 0; round < rounds; round++) {
      const { stdout } = await promisify(execFile)(process.execPath, [script, root]);
      results.push(JSON.parse(stdout));
    }
  } finally {
    fs.rmSync(root, { recursive: true, force: true });
  }
  const links = repositories * linksEach;
  const wrong = results.find((result) => result.links !== links || result.faults > 0);
  if (wrong !== undefined)
    throw new Error(`the scan found ${wrong.links} links of ${links}, ${wrong.faults} faults`);
  const of = (field) => results.map((result) => result[field]);
  return {
    title: 'Clean-up: reading a storage',
    tables: [
      {
        head: ['Repositories', 'Links', 's', 'CPU s', 'MiB at most'],
        rows: [
          [
            String(repositories),
            String(links),
            spread(of('seconds')),
            digits(median(of('cpuSeconds'))),
            digits(median(of('maxRssMiB'))),
          ],
        ],
      },
    ],
    notes: [
      'Reads all links and manifests at full pace, and marks what tags hold. No two repositories share a blob.',
    ],
    targets: [
      atMost('CPU seconds for a million links', (median(of('cpuSeconds')) * 1_000_000) / links, 60),
      atMost('MiB of memory of a scan', median(of('maxRssMiB')), 300),
    ],
    raw: { results },
  };
}
