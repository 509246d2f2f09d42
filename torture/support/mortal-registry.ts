import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stop } from '../../test/support/processes.ts';
import { freePort, until } from '../../test/support/redis.ts';

/** A real docker-registry that can be ended and started again at the same address, with the same files. */
export type MortalRegistry = {
  readonly url: string;
  start(): Promise<void>;
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Ends it, and removes its files. */
  remove(): Promise<void>;
};

/** Starts one. */
export async function startMortalRegistry(): Promise<MortalRegistry> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-registry-'));
  const configPath = path.join(dir, 'config.yml');
  const port = await freePort();
  const config = {
    version: '0.1',
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: path.join(dir, 'storage') }, delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}`, secret: 'for one test only' },
  };
  await writeFile(configPath, JSON.stringify(config)); // JSON is YAML
  let child: ChildProcess | undefined;
  const accepts = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      }).on('error', () => resolve(false));
    });
  const start = async () => {
    const started = spawn('docker-registry', ['serve', configPath], { stdio: 'ignore' });
    child = started;
    await until('docker-registry listens', () => {
      // Otherwise another program on the port would pass for it.
      if (started.exitCode !== null) throw new Error(`docker-registry ended with ${started.exitCode}`);
      return accepts();
    });
  };
  const end = async (signal: NodeJS.Signals) => {
    if (child) await stop(child, signal);
  };
  await start();
  return {
    url: `http://127.0.0.1:${port}`,
    start,
    end,
    remove: async () => {
      await end('SIGKILL');
      await rm(dir, { recursive: true, force: true });
    },
  };
}
