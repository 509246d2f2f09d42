import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import type { Finding } from '../../src/inventory/findings.ts';
import type { InventoryChange } from '../../src/inventory/inventory-change.ts';
import type { InventoryLimits } from '../../src/inventory/inventory-space.ts';
import type { InventoryTables } from '../../src/inventory/inventory-tables.ts';
import type {
  InventoryTag,
  RepositoryListPage,
  RepositoryListQuestion,
} from '../../src/inventory/repository-lists.ts';
import { createVisibleRepositories } from '../../src/inventory/repository-page.ts';
import { createOpenPolicy } from '../../src/policy/token-grants.ts';
import type { ManifestUse } from '../../src/usage/usage-buffer.ts';
import { openUsageFile, type UsageFile } from '../../src/usage/usage-file.ts';
import { until } from './redis.ts';

export const plentyOfRoom: InventoryLimits = { maxRows: 1e6, maxBytes: 1e9 };

/** A folder for a record, which goes with the test. */
export function makeRecordFolder(t: TestContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'tidegate-inventory-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return path.join(folder, 'usage.db');
}

/** Opens the record in this process. @param inventory null: without its tables */
export function openRecord(
  file: string,
  inventory: InventoryLimits | null = plentyOfRoom,
  limits = { maxRows: 1e6, maxBytes: 1e9 },
): UsageFile {
  return openUsageFile(file, { breaksLock: true, limits, sinceMs: Date.now(), inventory });
}

/** A question for all, as the first page of a user has it. */
export const allOf = (user: string, more: Partial<RepositoryListQuestion> = {}): RepositoryListQuestion => ({
  principal: { kind: 'user', name: user },
  search: '',
  sort: 'name',
  descending: false,
  page: 1,
  ...more,
});

const unused = { pulls: 0, pulledMs: null, pulledBy: null, pushes: 0, pushedMs: null, pushedBy: null };

export function pushOf(
  repository: string,
  reference: string,
  digest: string,
  atMs: number,
  by = 'alice',
): ManifestUse {
  return { ...unused, repository, reference, digest, pushes: 1, pushedMs: atMs, pushedBy: by };
}

export function pullOf(
  repository: string,
  reference: string,
  digest: string,
  atMs: number,
  by = 'bob',
): ManifestUse {
  return { ...unused, repository, reference, digest, pulls: 1, pulledMs: atMs, pulledBy: by };
}

/** Writes into both parts of the record, as its thread does. */
export function writeUses(
  record: UsageFile,
  manifests: readonly ManifestUse[],
  changes: readonly InventoryChange[] = [],
): void {
  record.write({ manifests, users: [], changes, dropped: 0 }, new Map(), Date.now());
  record.inventory?.write({ uses: manifests, changes, isLossy: false }, Date.now());
}

/** Notes what a registry has. */
export function find(record: UsageFile, ...findings: readonly Finding[]): void {
  record.inventory?.find(findings, Date.now());
}

/** The tags of the tests. */
export const usedTags = [
  ...['1.0', '2.0', 'all', 'around', 'kept', 'latest', 'old'],
  ...['v', 'v1', 'v2', 'v3', 'v4', 'v5'],
];

/** What a running Tidegate has in its lists, read from a copy of its file. */
export async function readInventory<Result>(
  stateDir: string,
  read: (tables: InventoryTables) => Result,
): Promise<Result> {
  const folder = await mkdtemp(path.join(tmpdir(), 'tidegate-inventory-'));
  try {
    for (const name of ['usage.db', 'usage.db-wal'])
      await copyFile(path.join(stateDir, 'usage', name), path.join(folder, name));
    const record = openRecord(path.join(folder, 'usage.db'));
    try {
      assert.ok(record.inventory);
      return read(record.inventory);
    } finally {
      record.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Waits until a list, as a user who may pull everything has it, is so. */
export async function untilListed(
  stateDir: string,
  what: string,
  isSo: (lists: {
    repositories: RepositoryListPage;
    tags: (repository: string) => readonly InventoryTag[];
  }) => boolean,
): Promise<void> {
  const visible = createVisibleRepositories(createOpenPolicy());
  let last: unknown;
  try {
    await until(
      what,
      () =>
        readInventory(stateDir, (tables) => {
          const repositories = tables.list(allOf('alice'), visible);
          const tagsOf = (repository: string) => tables.tags({ repository, of: { names: usedTags } }) ?? [];
          last = repositories.rows.map((row) => ({ ...row, tags: tagsOf(row.name) }));
          return isSo({ repositories, tags: tagsOf });
        }).catch(() => false),
      60_000,
    );
  } catch (error) {
    throw new Error(`${what}; the last lists: ${JSON.stringify(last)}`, { cause: error });
  }
}
