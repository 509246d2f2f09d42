import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { readStateFile } from '../quarantine/state-file.ts';

/** A text of Node's is hardly longer. */
const maxBytes = 500 * 1024 * 1024;

/**
 * When runs first saw that no tag leads to a manifest, by `untaggedKey`, in milliseconds since the epoch. A tag that was
 * removed leaves no trace but the time of the folder of all tags, which in a busy repository is always recent.
 */
export type UntaggedRecord = ReadonlyMap<string, number>;

export function untaggedKey(repository: string, digest: string): string {
  return `${repository}@${digest}`;
}

/** Null: not known, or it was pushed since, and may have had a tag until now. @param pushedMs its last push; null: not known */
export function findFirstUntagged(
  record: UntaggedRecord,
  { repository, digest }: { readonly repository: string; readonly digest: string },
  pushedMs: number | null,
): number | null {
  const firstMs = record.get(untaggedKey(repository, digest)) ?? null;
  return firstMs === null || firstMs < (pushedMs ?? 0) ? null : firstMs;
}

/** Reads the record. One that is missing or damaged is empty: counting begins anew. */
export async function readUntaggedRecord(path: string): Promise<UntaggedRecord> {
  const text = (await readStateFile(path, maxBytes)) ?? '';
  const record = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, ms, key] = /^(\d{1,15}) (\S+)$/.exec(line) ?? [];
    if (key !== undefined) record.set(key, Number(ms));
  }
  return record;
}

/** Replaces the record as a whole. */
export async function writeUntaggedRecord(path: string, record: UntaggedRecord): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o750 });
  const next = `${path}.next`;
  await rm(next, { force: true });
  const file = await open(next, 'wx', 0o640);
  try {
    for (const lines of inPieces(record)) await file.write(lines);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(next, path);
}

function* inPieces(record: UntaggedRecord): Generator<string> {
  let lines = '';
  for (const [key, ms] of record) {
    lines += `${Math.trunc(ms)} ${key}\n`;
    if (lines.length < 1_000_000) continue;
    yield lines;
    lines = '';
  }
  yield lines;
}
