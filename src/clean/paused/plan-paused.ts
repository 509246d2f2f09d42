import type { TagPattern } from '../../policy/tag-pattern.ts';
import type { UsageRow } from '../../usage/usage-file.ts';
import type { Doors, MergedEvidence } from '../channel/doors.ts';
import { compileRules } from '../rules/decide.ts';
import { findFirstUntagged, type UntaggedRecord } from '../plan/untagged-record.ts';
import type { RuleText } from '../rules/rule-text.ts';
import {
  decidePaused,
  type KnownRepository,
  type PausedDecision,
  type PausedSettings,
} from './decide-paused.ts';
import { probeRepository } from './collect-paused.ts';
import { createRegistryReader, type ReadManifest, type RegistryReader } from './registry-reader.ts';

export type PausedPlanOptions = {
  readonly doors: Pick<Doors, 'request' | 'usage' | 'evidence'>;
  readonly clean: {
    readonly rules: readonly RuleText[];
    readonly grace: number;
    readonly untagged: number | null;
  };
  readonly immutableTags: readonly TagPattern[];
  readonly untagged: UntaggedRecord;
  readonly nowMs: number;
  readonly signal: AbortSignal;
  readonly onProgress: (repositories: number) => void;
};

/** A decision with what shows whether anything was written since. */
export type PlannedRepository = PausedDecision & {
  /** The manifests that are known, by digest. */
  readonly manifestsKnown: ReadonlyMap<string, ReadManifest>;
  readonly writes: WriteMark;
};

/** How much was written to a repository, by then. */
export type WriteMark = { readonly epoch: string; readonly count: number };

export type PausedPlan = {
  /** When the record begins; null: there is none, and everything is kept. */
  readonly recordSinceMs: number | null;
  readonly repositories: AsyncIterable<PlannedRepository>;
};

/** Plans what a run would retire, one repository after the other. */
export async function planPaused(options: PausedPlanOptions): Promise<PausedPlan> {
  const { doors, clean, immutableTags, nowMs } = options;
  const recordSinceMs = await readSince(doors);
  if (recordSinceMs === null) return { recordSinceMs, repositories: none() };
  const settings: PausedSettings = {
    rules: compileRules(clean.rules, immutableTags),
    graceMs: clean.grace,
    untaggedMs: clean.untagged,
    ...{ nowMs, recordSinceMs },
  };
  return { recordSinceMs, repositories: planEach(options, settings) };
}

async function* none(): AsyncGenerator<PlannedRepository> {
  // Without a record nothing is known.
}

async function* planEach(
  options: PausedPlanOptions,
  settings: PausedSettings,
): AsyncGenerator<PlannedRepository> {
  const { doors, signal, onProgress } = options;
  const reader = createRegistryReader(doors);
  let count = 0;
  for await (const name of reader.repositories()) {
    signal.throwIfAborted();
    if (name !== probeRepository) yield await planOne(options, settings, reader, name);
    onProgress(++count);
  }
}

async function planOne(
  { doors, untagged }: PausedPlanOptions,
  settings: PausedSettings,
  reader: RegistryReader,
  name: string,
): Promise<PlannedRepository> {
  const writes = await readWrites(doors, name);
  const known = await readRepository(doors, reader, name, (digest, pushedMs) =>
    findFirstUntagged(untagged, { repository: name, digest }, pushedMs),
  );
  return { ...decidePaused(known, settings), manifestsKnown: known.manifests, writes };
}

/** How much was written to a repository through the front doors. */
async function readWrites(doors: Pick<Doors, 'evidence'>, repository: string): Promise<WriteMark> {
  return readMark(await doors.evidence({ repositories: [repository] }));
}

/** Of evidence about one repository. */
export function readMark({ epoch, writes }: MergedEvidence): WriteMark {
  return { epoch, count: writes[0] ?? NaN };
}

async function readRepository(
  doors: Pick<Doors, 'usage'>,
  reader: RegistryReader,
  name: string,
  firstUntaggedMs: KnownRepository['firstUntaggedMs'],
): Promise<KnownRepository> {
  const usage = new Map<string, UsageRow>();
  for await (const { rows } of doors.usage({ ask: 'references', repository: name }))
    for (const row of rows) if (row.name !== '') usage.set(row.name, mergeRows(usage.get(row.name), row));
  const manifests = new Map<string, ReadManifest>();
  const tags: { name: string; digest: string }[] = [];
  for (const tag of await reader.tags(name)) {
    const manifest = await reader.manifest(name, tag);
    if (manifest === null) continue; // removed meanwhile
    tags.push({ name: tag, digest: manifest.digest });
    manifests.set(manifest.digest, manifest);
  }
  const open = [...manifests.values()].flatMap((manifest) => manifest.manifests);
  for (const { name: reference, digest } of usage.values()) {
    if (reference.includes(':')) open.push(reference);
    if (digest !== null) open.push(digest);
  }
  const seen = new Set(manifests.keys());
  for (let digest = open.pop(); digest !== undefined; digest = open.pop()) {
    if (seen.has(digest)) continue;
    seen.add(digest);
    const manifest = await reader.manifest(name, digest);
    if (manifest === null) continue;
    manifests.set(digest, manifest);
    for (const named of manifest.manifests) open.push(named);
  }
  return { name, tags, manifests, usage, firstUntaggedMs };
}

/** The same row of two front doors. */
function mergeRows(one: UsageRow | undefined, other: UsageRow): UsageRow {
  if (one === undefined) return other;
  const later = <Use extends { at: number | null }>(a: Use, b: Use) => ((a.at ?? 0) > (b.at ?? 0) ? a : b);
  return { ...other, pulls: later(one.pulls, other.pulls), pushes: later(one.pushes, other.pushes) };
}

async function readSince(doors: Pick<Doors, 'usage'>): Promise<number | null> {
  for await (const { since } of doors.usage({ ask: 'repositories' })) return since;
  return null;
}
