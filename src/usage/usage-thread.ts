import { readdirSync, renameSync, unlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parentPort } from 'node:worker_threads';
import {
  createInventoryDesk,
  type InventoryCall,
  type InventoryReplies,
} from '../inventory/inventory-desk.ts';
import type { InventoryLimits } from '../inventory/inventory-space.ts';
import { lowerThreadPriority } from '../system/thread-priority.ts';
import type { UsageBatch } from './usage-buffer.ts';
import { BrokenRecordError, isDamage, openUsageFile, type UsageFile } from './usage-file.ts';
import type { UsageFill, UsageLimits } from './usage-writer.ts';
import { readPage, type UsageQuestion } from './usage-question.ts';

/*
 * The thread on which the record is read and written: a slow disk, or a check of a large file, holds up no request. SQLite's
 * WebAssembly can at worst end this thread.
 */

export type OpenOptions = {
  readonly path: string;
  readonly breaksLock: boolean;
  readonly limits: UsageLimits;
  /** When a record begins that is not there yet, in milliseconds since the epoch. */
  readonly sinceMs: number;
  /** Null: the inventory is not kept. */
  readonly inventory: InventoryLimits | null;
};

/** What the thread is asked for; one thing at a time. */
export type ThreadCall =
  | ({ readonly act: 'open' } & OpenOptions)
  | {
      readonly act: 'write';
      readonly batch: UsageBatch;
      readonly addresses: ReadonlyMap<string, number>;
      /** When uses were lost last; null: none since the last write. */
      readonly lostMs: number | null;
    }
  | { readonly act: 'read'; readonly question: UsageQuestion }
  | { readonly act: 'inventory'; readonly call: InventoryCall }
  | { readonly act: 'close' };

export type OpenedRecord = {
  readonly since: number;
  readonly fill: UsageFill;
  /** Where a damaged file was put, and what is wrong with it; null: there was none. */
  readonly setAside: { readonly path: string; readonly reason: string } | null;
};

/** The answer to a call; `failure` says what went wrong. */
export type ThreadReply = { readonly value: unknown } | { readonly failure: string };

/** The last damaged files are kept for who wants to look at them. */
const maxSetAside = 2;

lowerThreadPriority();

const desk = createInventoryDesk();
let open: { file: UsageFile; options: OpenOptions } | undefined;
/** Those of the last open, also if it failed. */
let lastOptions: OpenOptions | undefined;
/** Whether something happened that the inventory could not be told. */
let isInventoryBehind = false;

parentPort?.on('message', (call: ThreadCall) => {
  parentPort?.postMessage(reply(call));
});

function reply(call: ThreadCall): ThreadReply {
  try {
    return { value: act(call) };
  } catch (error) {
    return { failure: (error as Error).message };
  }
}

function act(call: ThreadCall): unknown {
  switch (call.act) {
    case 'open':
      return openRecord(call);
    case 'write':
      return write(call);
    case 'read':
      return readPage(opened().file, call.question);
    case 'inventory':
      return askInventory(call.call);
    case 'close':
      close();
      return null;
  }
}

function openRecord(options: OpenOptions): OpenedRecord {
  close();
  lastOptions = options;
  let setAside: OpenedRecord['setAside'] = null;
  let file: UsageFile;
  try {
    file = openUsageFile(options.path, options);
  } catch (error) {
    if (!(error instanceof BrokenRecordError)) throw error;
    setAside = { path: putAside(options.path), reason: error.message };
    file = openUsageFile(options.path, { ...options, sinceMs: Date.now() });
  }
  open = { file, options };
  return { since: file.since, fill: file.fill(), setAside };
}

/** The fill after it, and from when on nothing is missing; and, when the record was begun anew, how. */
function write({ batch, addresses, lostMs }: Extract<ThreadCall, { act: 'write' }>): {
  fill: UsageFill;
  since: number;
  begun: OpenedRecord | null;
} {
  let begun: OpenedRecord | null = null;
  if (open === undefined && lastOptions !== undefined) begun = openRecord(lastOptions);
  if (!opened().file.isInPlace()) begun = openRecord({ ...opened().options, sinceMs: Date.now() });
  const done = actOnWhole((file) => file.write(batch, addresses, Date.now(), lostMs));
  const { file } = opened();
  const told = tellInventory(batch);
  return { fill: file.fill(), since: file.since, begun: told ?? done.begun ?? begun };
}

/** The record has the batch already: whatever happens here must not have it sent again. */
function tellInventory(batch: UsageBatch): OpenedRecord | null {
  const happened = {
    uses: batch.manifests,
    changes: batch.changes,
    isLossy: batch.dropped > 0 || isInventoryBehind,
  };
  try {
    const { begun } = actOnWhole((file) => file.inventory?.write(happened, Date.now()));
    isInventoryBehind = false;
    return begun;
  } catch {
    isInventoryBehind = true; // it says itself what is wrong when it is asked
    return null;
  }
}

function askInventory(call: InventoryCall): {
  reply: InventoryReplies[InventoryCall['ask']];
  begun: OpenedRecord | null;
} {
  const { result, begun } = actOnWhole((file) => desk.perform(call, file.inventory, Date.now()));
  return { reply: result, begun };
}

/** Acts on the file; one that turns out to be damaged is set aside, and the next begins in its place. */
function actOnWhole<Result>(act: (file: UsageFile) => Result): {
  result: Result;
  begun: OpenedRecord | null;
} {
  const { file, options } = opened();
  try {
    return { result: act(file), begun: null };
  } catch (error) {
    if (!isDamage(error)) throw error;
    close();
    const path = putAside(options.path);
    const begun = {
      ...openRecord({ ...options, sinceMs: Date.now() }),
      setAside: { path, reason: (error as Error).message },
    };
    return { result: act(opened().file), begun };
  }
}

function opened(): NonNullable<typeof open> {
  if (open === undefined) throw new Error('the record is not open');
  return open;
}

function close(): void {
  const { file } = open ?? {};
  open = undefined;
  try {
    file?.close();
  } catch {
    // a damaged file; what was committed is in its journal
  }
}

/** Renames the file and its journal, and removes those put aside long ago. Returns the new path. */
function putAside(path: string): string {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  const aside = `${path}.broken-${time}`;
  renameSync(path, aside);
  try {
    renameSync(`${path}-wal`, `${aside}-wal`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const folder = dirname(path);
  const kept = readdirSync(folder).filter((name) => name.startsWith(`${basename(path)}.broken-`));
  const bases = kept.filter((name) => !name.endsWith('-wal')).sort();
  for (const old of bases.slice(0, -maxSetAside))
    for (const name of kept) if (name === old || name === `${old}-wal`) unlinkSync(join(folder, name));
  return aside;
}
