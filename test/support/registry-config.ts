import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { stop } from './processes.ts';

/**
 * Starts a real docker-registry with this configuration and asks it for `/v2/`.
 * @param env variables that replace parts of it; STORAGE stands for a new folder.
 * @returns the status. Throws with the registry's output if it exits instead.
 */
export async function tryRegistryConfig(text: string, env: Record<string, string>): Promise<number> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-registry-'));
  const configPath = path.join(dir, 'config.yml');
  await writeFile(configPath, text.replace(/^( *level: )warn$/m, '$1info')); // it tells its port at level info
  const variables = Object.entries(env).map(([name, value]) => [
    name,
    value.replace('STORAGE', `${dir}/images`),
  ]);
  const child = spawn('docker-registry', ['serve', configPath], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...(Object.fromEntries(variables) as Record<string, string>) },
  });
  let said = '';
  const listening = new Promise<string>((resolve) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      said += `${line}\n`;
      const address = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
      if (address !== undefined) resolve(address);
    });
  });
  const ended = once(child, 'exit').then(() => {
    throw new Error(`docker-registry ended: ${said}`);
  });
  try {
    const address = await Promise.race([listening, ended]);
    ended.catch(() => {});
    const { status } = await fetch(`http://${address}/v2/`);
    return status;
  } finally {
    await stop(child);
    await rm(dir, { recursive: true, force: true });
  }
}
