import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { EngineNamespace } from './engine-namespace.ts';

/** A real Docker engine that runs no containers: enough for login, push and pull. */
export type Engine = {
  /** The value for DOCKER_HOST. */
  readonly url: string;
  /** Waits until it ends, which closing its namespace causes, and removes its data. */
  cleanUp(): Promise<void>;
};

export async function startEngine(namespace: EngineNamespace): Promise<Engine> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-engine-'));
  const url = `unix://${dir}/docker.sock`;
  const [file = '', ...args] = [
    ...namespace.inside,
    'dockerd',
    ...['--host', url],
    ...['--data-root', `${dir}/data`, '--exec-root', `${dir}/exec`, '--pidfile', `${dir}/pid`],
    ...['--storage-driver=vfs', '--bridge=none', '--iptables=false', '--ip6tables=false'],
  ];
  const child = spawn(file, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, HOME: dir, NO_PROXY: '*', PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
  });
  const gone = once(child, 'close');
  let log = '';
  const listening = new Promise<void>((resolve) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      log += `${line}\n`;
      if (line.includes('API listen on')) resolve();
    });
  });
  const died = gone.then(() => {
    throw new Error(`dockerd ended before it was ready:\n${log}`);
  });
  await Promise.race([listening, died]);
  died.catch(() => {}); // from here on its end is the test's own doing
  return {
    url,
    cleanUp: async () => {
      await gone;
      await rm(dir, { recursive: true, force: true });
    },
  };
}
