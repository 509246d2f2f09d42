import type { UsageRow } from '../../usage/usage-file.ts';
import type { Rules, TagFacts } from '../rules/decide.ts';
import { subjectOfTag } from '../scan/mark.ts';
import type { ReadManifest } from './registry-reader.ts';

/** What is known of a repository without its files. */
export type KnownRepository = {
  readonly name: string;
  readonly tags: readonly { readonly name: string; readonly digest: string }[];
  /** By digest: those that tags lead to, those that they name, and those of which something else is known. */
  readonly manifests: ReadonlyMap<string, ReadManifest>;
  /** By tag and by digest. */
  readonly usage: ReadonlyMap<string, UsageRow>;
  /** When it was first seen that no tag leads to a digest, if it was not pushed since, in milliseconds since the epoch; null: not yet. */
  readonly firstUntaggedMs: (digest: string, pushedMs: number | null) => number | null;
};

export type PausedTag = {
  readonly tag: string;
  readonly digest: string;
  readonly goes: boolean;
  /** The rule that decides, counted from 1; null: none does. */
  readonly rule: number | null;
  readonly why: string;
  /** Null: before the record's beginning. */
  readonly pushedMs: number | null;
  readonly pulledMs: number | null;
};

export type PausedDecision = {
  readonly name: string;
  readonly tags: readonly PausedTag[];
  /** Manifests that go, those that others name last. */
  readonly manifests: readonly { readonly digest: string; readonly isOfTag: boolean }[];
  /** Known manifests to which no tag leads, and none that stays. */
  readonly untagged: readonly { readonly digest: string; readonly sinceMs: number }[];
};

export type PausedSettings = {
  readonly rules: Rules;
  readonly graceMs: number;
  /** Null: manifests without a tag are kept for ever. */
  readonly untaggedMs: number | null;
  readonly nowMs: number;
  /** When the record of usage begins. What is not in it happened before, at the latest then. */
  readonly recordSinceMs: number;
};

/** Decides what goes in a repository, by the rules and the record of usage. Pure. */
export function decidePaused(known: KnownRepository, settings: PausedSettings): PausedDecision {
  const { graceMs, untaggedMs: limitMs, nowMs, recordSinceMs } = settings;
  const tags = decideTags(known, settings);
  const edges = findEdges(known);
  const isAttached = ({ tag }: PausedTag) => findSubjects(known, tag).length > 0;
  const roots = tags.flatMap((each) => {
    if (!isAttached(each)) return each.goes ? [] : [each.digest];
    const isYoung = nowMs - (each.pushedMs ?? recordSinceMs) < graceMs;
    return isYoung ? findSubjects(known, each.tag) : [];
  });
  const retired = tags.flatMap(({ goes, digest }) => (goes ? [digest] : []));

  const stays = mark(edges, roots);
  const loose = [...known.manifests.keys()].filter((digest) => !stays.has(digest));
  const ofRetired = mark(edges, retired);
  const untagged = new Map(
    loose.map((digest) => [
      digest,
      known.firstUntaggedMs(digest, lastUse(known, digest, ['pushes'])) ?? nowMs,
    ]),
  );
  const waiting = loose.filter((digest) => {
    if (limitMs === null) return true;
    const usedMs = lastUse(known, digest) ?? recordSinceMs;
    const untaggedMs = ofRetired.has(digest) ? 0 : (untagged.get(digest) ?? nowMs);
    const sinceMs = Math.max(usedMs, recordSinceMs, untaggedMs);
    return nowMs - usedMs < graceMs || nowMs - sinceMs < limitMs;
  });
  // What one that waits leads to, waits too.
  for (const digest of mark(edges, waiting)) stays.add(digest);
  const going = loose.filter((digest) => !stays.has(digest));
  return {
    name: known.name,
    tags: tags.map((each) =>
      isAttached(each) && going.includes(each.digest)
        ? { ...each, goes: true, why: 'its subject goes' }
        : each,
    ),
    manifests: order(known, going).map((digest) => ({ digest, isOfTag: ofRetired.has(digest) })),
    untagged: [...untagged].map(([digest, sinceMs]) => ({ digest, sinceMs })),
  };
}

function decideTags(
  { name, tags, usage }: KnownRepository,
  { rules, graceMs, nowMs, recordSinceMs }: PausedSettings,
): PausedTag[] {
  const times = tags.map(({ name: tag, digest }) => {
    const row = usage.get(tag);
    const of = usage.get(digest);
    return { pushedMs: row?.pushes.at ?? null, pulledMs: latest(row?.pulls.at, of?.pulls.at) };
  });
  const facts = tags.map((tag, i): TagFacts => {
    const { pushedMs = null, pulledMs = null } = times[i] ?? {};
    return { name: tag.name, pushedMs: pushedMs ?? recordSinceMs, pulledMs };
  });
  const verdicts = rules.decide(name, facts, { nowMs, recordSinceMs });
  return tags.map((tag, i) => {
    const { pushedMs = null, pulledMs = null } = times[i] ?? {};
    const { keep = true, rule = null, why = '' } = verdicts[i] ?? {};
    const decided = { tag: tag.name, digest: tag.digest, goes: !keep, rule, why, pushedMs, pulledMs };
    if (keep) return decided;
    const usedMs = latest(pushedMs ?? recordSinceMs, pulledMs) ?? nowMs;
    return nowMs - usedMs < graceMs ? { ...decided, goes: false, why: 'used within clean.grace' } : decided;
  });
}

/** The known manifests to which a tag such as `sha256-<hex>.sig` belongs; none of another tag. */
function findSubjects({ manifests }: KnownRepository, tag: string): string[] {
  const start = subjectOfTag(tag);
  return start === null ? [] : [...manifests.keys()].filter((digest) => digest.startsWith(start));
}

/** By digest what a manifest leads to: what it names, and what belongs to it. */
function findEdges(known: KnownRepository): ReadonlyMap<string, readonly string[]> {
  const edges = new Map([...known.manifests].map(([digest, { named }]) => [digest, [...named]]));
  for (const [digest, { subject }] of known.manifests) if (subject !== null) edges.get(subject)?.push(digest);
  for (const { name, digest } of known.tags)
    for (const subject of findSubjects(known, name)) edges.get(subject)?.push(digest);
  return edges;
}

function mark(edges: ReadonlyMap<string, readonly string[]>, roots: Iterable<string>): Set<string> {
  const marked = new Set<string>();
  const open = [...roots];
  for (let digest = open.pop(); digest !== undefined; digest = open.pop()) {
    if (marked.has(digest)) continue;
    marked.add(digest);
    for (const next of edges.get(digest) ?? []) open.push(next);
  }
  return marked;
}

/** Those that name others first: an index without a part would be broken. */
function order({ manifests }: KnownRepository, digests: readonly string[]): string[] {
  const namedIn = new Map(digests.map((digest) => [digest, 0]));
  for (const digest of digests)
    for (const named of new Set(manifests.get(digest)?.named))
      if (namedIn.has(named)) namedIn.set(named, (namedIn.get(named) ?? 0) + 1);
  const ordered: string[] = [];
  const open = digests.filter((digest) => namedIn.get(digest) === 0);
  for (let digest = open.pop(); digest !== undefined; digest = open.pop()) {
    ordered.push(digest);
    for (const named of new Set(manifests.get(digest)?.named)) {
      const left = (namedIn.get(named) ?? 0) - 1;
      if (namedIn.has(named)) namedIn.set(named, left);
      if (left === 0) open.push(named);
    }
  }
  return ordered;
}

function lastUse(
  { usage }: KnownRepository,
  digest: string,
  kinds: readonly ('pushes' | 'pulls')[] = ['pushes', 'pulls'],
): number | null {
  let last: number | null = null;
  for (const row of usage.values())
    if (row.name === digest || row.digest === digest)
      for (const kind of kinds) last = latest(last, row[kind].at);
  return last;
}

function latest(one: number | null | undefined, other: number | null | undefined): number | null {
  return one == null || other == null ? (one ?? other ?? null) : Math.max(one, other);
}
