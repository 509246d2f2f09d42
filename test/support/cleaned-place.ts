import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createCacheClient, type CacheClient } from './cache-client.ts';
import { cleanCommand, startCleaner, type Cleaner } from './cleaner.ts';
import { startFrontDoor, type FrontDoor } from './front-door.ts';
import type { Finished } from './processes.ts';
import type { Registry } from './registry.ts';

/** A registry with a front door and a cleaner, both the real program, which share a configuration. */
export type CleanedPlace = {
  /** Of the cleaner, and of commands. */
  readonly dir: string;
  readonly configPath: string;
  readonly registry: Registry;
  readonly door: FrontDoor;
  readonly cleaner: Cleaner;
  readonly client: CacheClient;
  /** Runs a command of the program there. */
  command(...args: string[]): Promise<Finished>;
  /** Ends all of them, the registry too. */
  stop(): Promise<void>;
};

/** @param settings further ones; `clean` beside its socket */
export async function startCleanedPlace(
  registry: Registry,
  settings: { readonly clean: object } & Readonly<Record<string, unknown>>,
): Promise<CleanedPlace> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-clean-'));
  const configPath = path.join(dir, 'tidegate.yml');
  const config = JSON.stringify({
    state: { dir: path.join(dir, 'state') },
    upstream: { storage: registry.storageDir },
    ...settings,
    clean: { socket: path.join(dir, 'clean.sock'), ...settings.clean },
  });
  await writeFile(configPath, config);
  const cleaner = await startCleaner(['--config', configPath], dir);
  const door = await startFrontDoor({ upstreamUrl: registry.url, config });
  const client = createCacheClient(door);
  await cleaner.logged(({ msg }) => msg === 'a front door is connected');
  return {
    ...{ dir, configPath, registry, door, cleaner, client },
    command: (...args) => cleanCommand([...args, '--config', configPath], dir),
    stop: async () => {
      client.close();
      await cleaner.stop();
      await door.stop();
      await registry.stop();
      await rm(dir, { recursive: true });
    },
  };
}
