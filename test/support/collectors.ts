import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { until } from './redis.ts';

/** Restarts a registry when it is asked to, and counts how often. */
export type Restarter = {
  /** For `clean.restart`. */
  readonly command: string[];
  count: number;
  close(): void;
};

export async function startRestarter(restart: () => Promise<unknown>): Promise<Restarter> {
  const server = createServer((_, res) => {
    restarter.count += 1;
    void restart().then(() => res.end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const restarter: Restarter = {
    command: ['curl', '--silent', '--fail', `http://127.0.0.1:${port}/`],
    count: 0,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
  return restarter;
}

/** A collector that looks as the real one does, and then runs this script. */
export async function writeCollector(dir: string, configPath: string, script: string): Promise<string[]> {
  const file = path.join(dir, `collector-${randomBytes(4).toString('hex')}`);
  await writeFile(file, `#!/bin/sh\ncase "$*" in *--dry-run*) exec docker-registry "$@";; esac\n${script}\n`);
  await chmod(file, 0o755);
  return [file, 'garbage-collect', configPath];
}

/** Waits until a script has written its process id there, in a line. */
export async function untilWritten(file: string): Promise<number> {
  let text = '';
  await until(`the collector has written ${path.basename(file)}`, async () => {
    text = await readFile(file, 'utf8').catch(() => '');
    return text.endsWith('\n');
  });
  return Number(text);
}
