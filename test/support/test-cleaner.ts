import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Doors } from '../../src/clean/channel/doors.ts';
import { openDoors } from '../../src/clean/channel/open-doors.ts';
import { peerLimits } from '../../src/clean/channel/peer.ts';
import { version } from '../../src/config/version.ts';
import { startFrontDoor, type FrontDoor } from './front-door.ts';
import { listenOn } from '../../src/system/unix-socket.ts';
import { until } from './redis.ts';

export const testGraceMs = 3_600_000;

/** A cleaner's side of the channel, on a socket. */
export type TestCleaner = {
  readonly doors: Doors;
  readonly socketPath: string;
  readonly log: readonly (object & { readonly message: string })[];
  /** Starts a front door that knows it, whose registry is at this URL. */
  startDoor(upstreamUrl: string, set?: readonly string[], within?: readonly string[]): Promise<FrontDoor>;
  /** Waits until so many front doors are connected. */
  untilConnected(count?: number): Promise<void>;
  /** As if it were killed. */
  die(): void;
  close(): Promise<void>;
};

/**
 * @param options hangs: it never says anything of its own accord; taken: what was ever taken; dir: a folder of another
 * one; now: milliseconds since the epoch; storage: the registry's folder
 */
export async function startTestCleaner(
  options: {
    hangs?: boolean;
    taken?: readonly string[];
    dir?: string;
    now?: () => number;
    graceMs?: number;
    storage?: string;
  } = {},
): Promise<TestCleaner & { readonly dir: string }> {
  const dir = options.dir ?? (await mkdtemp(path.join(tmpdir(), 'tidegate-clean-')));
  const { graceMs = testGraceMs, storage = dir } = options;
  const log: (object & { readonly message: string })[] = [];
  const note = (fields: object, message: string) => void log.push({ ...fields, message });
  const opened = await openDoors({
    file: path.join(dir, 'doors.json'),
    version,
    graceMs: () => graceMs,
    readTaken: () => Promise.resolve(options.taken ?? []),
    logger: { info: note, warn: note },
    now: options.now ?? (() => Date.now()),
    limits: options.hangs ? { ...peerLimits, pingMs: 1e9 } : peerLimits,
  });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    opened.accept(socket);
  });
  const socketPath = path.join(dir, 'clean.sock');
  await listenOn(server, socketPath);
  const end = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return {
    ...{ doors: opened.doors, socketPath, log, dir },
    startDoor: (upstreamUrl, set = [], within = []) =>
      startFrontDoor({
        ...{ upstreamUrl, within },
        set: [
          `clean.socket=${socketPath}`,
          `clean.grace=${graceMs / 1000}s`,
          `upstream.storage=${storage}`,
          ...set,
        ],
      }),
    untilConnected: (count = 1) =>
      until(
        `${count} front doors are connected`,
        () => log.filter(({ message }) => message === 'a front door is connected').length >= count,
      ),
    die: end,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      await opened.close();
      end();
      await closed;
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
    },
  };
}
