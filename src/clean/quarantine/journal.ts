import { closeSync, fstatSync, readSync } from 'node:fs';
import { open, truncate, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { isRepositoryName } from '../../registry/names/repository-name.ts';
import { tagForm } from '../../registry/names/tag.ts';
import type { Disk } from './disk.ts';
import { digestForm } from './item.ts';
import { openForMore, openStateFile, readStateFile } from './state-file.ts';

const count = z.number().int().min(0);
const repository = z.string().refine(isRepositoryName);
const digest = z.string().regex(digestForm);
const link = z.object({ path: z.string(), content: z.string(), mode: count, mtimeMs: z.number() });
const item = z.discriminatedUnion('what', [
  z.object({ what: z.literal('tag'), repository, tag: z.string().regex(tagForm), digest }),
  z.object({
    what: z.enum(['manifest', 'layer']),
    repository,
    digest,
    files: z.array(link).readonly(),
  }),
  z.object({ what: z.literal('data'), digest, bytes: count }),
]);
const counts = z.object({ tags: count, manifests: count, layers: count, blobs: count, bytes: count });
const record = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('begin'), run: z.string(), at: z.number(), version: z.string() }),
  z.object({ kind: z.literal('intent'), number: count, item }),
  z.object({
    kind: z.literal('outcome'),
    number: count,
    outcome: z.enum(['taken', 'left', 'unknown']),
    why: z.string().optional(),
  }),
  z.object({
    kind: z.literal('end'),
    at: z.number(),
    result: z.enum(['done', 'stopped', 'failed', 'interrupted']),
    why: z.string().nullable(),
    counts,
  }),
  z.object({ kind: z.literal('undo'), at: z.number() }),
  z.object({
    kind: z.literal('restored'),
    number: count,
    outcome: z.enum(['restored', 'there', 'impossible']),
    why: z.string().optional(),
  }),
  z.object({
    kind: z.literal('undone'),
    at: z.number(),
    counts,
    restored: count,
    there: count,
    impossible: count,
  }),
]);

/** A line of a journal. */
export type JournalRecord = z.output<typeof record>;
/** What was taken. `bytes` are those of the data. */
export type Counts = z.output<typeof counts>;
export type Outcome = Extract<JournalRecord, { kind: 'outcome' }>['outcome'];
export type Restoration = Extract<JournalRecord, { kind: 'restored' }>['outcome'];

/** The journal of a run, open for writing. */
export type Journal = {
  /** Resolves when they are on disk. */
  write(records: readonly JournalRecord[]): Promise<void>;
  close(): Promise<void>;
};

export function journalPath(runFolder: string): string {
  return join(runFolder, 'journal.jsonl');
}

export async function createJournal(
  disk: Disk,
  path: string,
  begin: Extract<JournalRecord, { kind: 'begin' }>,
): Promise<Journal> {
  const file = await open(path, 'ax', 0o640);
  const journal = wrap(disk, path, file, 0);
  try {
    await journal.write([begin]);
    await disk.syncFolder(dirname(path));
  } catch (error) {
    await journal.close();
    throw error;
  }
  return journal;
}

/** Opens one for more lines. What a crash has left of a last line is cut off. */
export async function reopenJournal(disk: Disk, path: string): Promise<Journal> {
  const end = wholeBytes(path);
  await truncate(path, end);
  return wrap(disk, path, await openForMore(path), end);
}

function wrap(disk: Disk, path: string, file: FileHandle, bytes: number): Journal {
  let endBytes = bytes;
  return {
    write: async (records) => {
      if (records.length === 0) return;
      const text = records.map((line) => `${JSON.stringify(line)}\n`).join('');
      try {
        await disk.append(file, text);
      } catch (error) {
        // On a full disk a part of it may be there.
        await truncate(path, endBytes).catch(() => {});
        throw error;
      }
      endBytes += Buffer.byteLength(text);
    },
    close: () => file.close(),
  };
}

export type ReadLine = {
  /** Null: the line cannot be read. */
  readonly record: JournalRecord | null;
  /** Where the line ends. */
  readonly endBytes: number;
};

const pieceBytes = 262_144;
/** A longer line is not read: the longest item has two links. */
const maxLineBytes = 65_536;

/** Reads a journal line by line. A longer line counts as one that cannot be read. A last line without its end was never acted upon, and is left out. */
export function* readLines(path: string): Generator<ReadLine> {
  const file = openStateFile(path);
  try {
    const piece = Buffer.allocUnsafe(pieceBytes);
    let rest = Buffer.alloc(0);
    /** How much of a line that is too long was dropped. */
    let dropped = 0;
    let at = 0;
    for (;;) {
      const length = readSync(file, piece, 0, pieceBytes, null);
      if (length === 0) return;
      const text = Buffer.concat([rest, piece.subarray(0, length)]);
      let start = 0;
      for (let end = text.indexOf(10); end !== -1; end = text.indexOf(10, start)) {
        at += dropped + end + 1 - start;
        yield { record: dropped > 0 ? null : parseLine(text.toString('utf8', start, end)), endBytes: at };
        dropped = 0;
        start = end + 1;
      }
      rest = Buffer.from(text.subarray(start));
      if (dropped === 0 && rest.length <= maxLineBytes) continue;
      dropped += rest.length;
      rest = Buffer.alloc(0);
    }
  } finally {
    closeSync(file);
  }
}

/** The records that can be read. */
export function* readRecords(path: string): Generator<JournalRecord> {
  for (const { record } of readLines(path)) if (record !== null) yield record;
}

/** Reads the last records of a journal, at least one if there is any. */
export function readLastRecords(path: string): JournalRecord[] {
  const file = openStateFile(path);
  try {
    const { size } = fstatSync(file);
    const start = Math.max(0, size - tailBytes);
    const buffer = Buffer.alloc(size - start);
    const bytesRead = readSync(file, buffer, 0, buffer.length, start);
    const lines = buffer
      .toString('utf8', 0, bytesRead)
      .split('\n')
      .slice(start === 0 ? 0 : 1, -1);
    return lines.map(parseLine).filter((line) => line !== null);
  } finally {
    closeSync(file);
  }
}

const tailBytes = 65_536;

/** How many bytes the journal has up to its last whole record. */
function wholeBytes(path: string): number {
  let end = 0;
  for (const line of readLines(path)) if (line.record !== null) end = line.endBytes;
  return end;
}

/** Reads the lines before the last whole record that cannot be read: a crash leaves none. */
export function countDamage(path: string): number {
  let damaged = 0;
  let open = 0;
  for (const { record } of readLines(path)) {
    if (record === null) open += 1;
    else {
      damaged += open;
      open = 0;
    }
  }
  return damaged;
}

function parseLine(text: string): JournalRecord | null {
  try {
    return record.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

const maxJsonBytes = 16 * 1024 * 1024;

export async function readJsonFile<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
): Promise<z.output<Schema> | null> {
  const text = await readStateFile(path, maxJsonBytes);
  return text === null ? null : schema.parse(JSON.parse(text));
}
