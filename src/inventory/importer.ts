import { setTimeout as wait } from 'node:timers/promises';
import type { Finding, InventoryWork, TagToRead } from './findings.ts';
import type { ReadInventory, ReadPage } from './reading/registry-reader.ts';

/** What the importer needs of the tables. */
export type ImportedTables = {
  /** Null: there is nothing to read now. */
  next(): Promise<InventoryWork | null>;
  find(findings: readonly Finding[]): Promise<void>;
};

export type ImporterOptions = {
  readonly tables: ImportedTables;
  readonly read: ReadInventory;
  /** How long it waits after the start, in milliseconds. */
  readonly delayMs: number;
  readonly logger: Record<'info' | 'warn', (fields: object, message: string) => void>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/** Reads what the registries have into the tables, one request at a time, and rests in between. */
export type Importer = {
  readonly counts: { readonly reads: number; readonly failures: number };
  close(): Promise<void>;
};

/** It asks during a quarter of the time: whatever the registry can do, three quarters of that are the clients'. */
const restShare = 3;
const rest = { leastMs: 2, mostMs: 30_000 };
/** How soon it learns what was pushed. */
const idleMs = 1000;
/** One that answers nothing is asked less and less often. */
const backOff = { firstMs: 1000, mostMs: 5 * 60_000 };
const readLimitMs = 60_000;
/** How much is lost when the process is killed. */
const writeEveryMs = 2000;
/** A list with more pages does not end. */
const maxPages = 10_000;

/** The registry gives no answer: nothing is known about what was asked. */
class NoAnswerError extends Error {}

export function startImporter(options: ImporterOptions): Importer {
  const { tables, delayMs, logger, now } = options;
  const closing = new AbortController();
  const { signal } = closing;
  const counts = { reads: 0, failures: 0 };
  let failuresInRow = 0;

  const sleep = (ms: number) => wait(ms, undefined, { signal, ref: false });
  const failed = (reason: string): void => {
    counts.failures += 1;
    failuresInRow += 1;
    if (failuresInRow === 1)
      logger.warn({ reason }, 'the lists of repositories and tags cannot be kept up to date now');
  };
  const read: ReadInventory = async (asked) => {
    const beganAt = performance.now();
    counts.reads += 1;
    try {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(readLimitMs)]);
      return await options.read(asked, limit);
    } catch (error) {
      signal.throwIfAborted();
      throw new NoAnswerError((error as Error).message, { cause: error });
    } finally {
      const tookMs = performance.now() - beganAt;
      if (!signal.aborted) await sleep(Math.min(Math.max(rest.leastMs, restShare * tookMs), rest.mostMs));
    }
  };

  /** Reads a list to its end; false: it was not possible. */
  const readPages = async (
    readPage: (query: string | null) => Promise<ReadPage>,
    onNames: (names: readonly string[]) => Promise<void>,
  ): Promise<boolean> => {
    let query: string | null = null;
    for (let pages = 0; pages < maxPages; pages += 1) {
      const page = await readPage(query);
      if (page.isRefused) return false;
      await onNames(page.names);
      if (page.next === null) return true;
      if (page.next === query) return false;
      query = page.next;
    }
    return false;
  };
  /** The answer; null: there is none. */
  const ifAnswered = async <Value>(reading: Promise<Value>): Promise<Value | null> => {
    try {
      return await reading;
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      failed(error.message);
      return null;
    }
  };
  const readCatalogs = async (): Promise<void> => {
    const registries = await read({ read: 'registries' }, signal);
    let isComplete = true;
    for (let registry = 0; registry < registries; registry += 1) {
      const isWhole = await ifAnswered(
        readPages(
          (query) => read({ read: 'catalog-page', registry, query }, signal),
          (names) => tables.find([{ found: 'repositories', names }]),
        ),
      );
      if (isWhole === false) failed('a registry does not list its repositories');
      isComplete &&= isWhole === true;
    }
    await tables.find([{ found: 'end-of-catalogs', isComplete }]);
  };
  const readTags = async (repository: string): Promise<void> => {
    const askedMs = now();
    let kind: 'absent' | 'foreign' | 'list' = 'list';
    const isWhole = await ifAnswered(
      readPages(
        async (query) => {
          const page = await read({ read: 'tag-page', repository, query }, signal);
          if (typeof page !== 'string') return page;
          kind = page;
          return { names: [], next: null, isRefused: false };
        },
        (names) => tables.find([{ found: 'tags', repository, names }]),
      ),
    );
    const findEnd = (): Finding => {
      if (isWhole !== true) return { found: 'nothing', repository, tag: null };
      if (kind === 'absent') return { found: 'no-repository', repository, askedMs };
      return { found: 'end-of-tags', repository, askedMs, isComplete: kind === 'list' };
    };
    await tables.find([findEnd()]);
    if (isWhole === false) failed(`it does not list the tags of ${repository}`);
  };
  const readManifest = async (asked: TagToRead): Promise<Finding> => {
    const { repository, tag } = asked;
    const askedMs = now();
    const found = await ifAnswered(read({ read: 'tag', ...asked }, signal));
    if (found === 'absent') return { found: 'no-manifest', repository, tag, askedMs };
    if (found === null || found === 'useless') return { found: 'nothing', repository, tag };
    return { found: 'manifest', repository, tag, ...found, askedMs };
  };
  const readManifests = async (tags: readonly TagToRead[]): Promise<void> => {
    const before = counts.failures;
    let findings: Finding[] = [];
    let writtenAt = performance.now();
    const write = async () => {
      await tables.find(findings);
      findings = [];
      writtenAt = performance.now();
    };
    for (const tag of tags) {
      findings.push(await readManifest(tag));
      if (counts.failures > before) break;
      if (performance.now() - writtenAt > writeEveryMs) await write();
    }
    const isUseless = findings.length > 0 && findings.every(({ found }) => found === 'nothing');
    if (findings.length > 0) await write();
    if (isUseless && counts.failures === before) failed('its answers about manifests are of no use');
  };
  const work = async (next: InventoryWork): Promise<void> => {
    if (next.read === 'catalogs') return readCatalogs();
    if (next.read === 'manifests') return readManifests(next.tags);
    const before = counts.failures;
    for (const repository of next.repositories) {
      await readTags(repository);
      if (counts.failures > before) return;
    }
  };

  const step = async (): Promise<void> => {
    const before = counts.failures;
    try {
      const next = await tables.next();
      if (next === null) {
        await sleep(idleMs);
        return;
      }
      await work(next);
    } catch (error) {
      signal.throwIfAborted();
      failed((error as Error).message);
    }
    if (counts.failures > before) {
      await sleep(Math.min(backOff.firstMs * 2 ** (failuresInRow - 1), backOff.mostMs));
      return;
    }
    if (failuresInRow > 0) logger.info({}, 'the lists of repositories and tags are kept up to date again');
    failuresInRow = 0;
  };
  const run = async (): Promise<void> => {
    await sleep(delayMs);
    for (;;) await step();
  };
  const ended = run().catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });

  return {
    counts,
    close: async () => {
      closing.abort();
      await ended;
    },
  };
}
