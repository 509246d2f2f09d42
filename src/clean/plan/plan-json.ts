import type { Plan, RepositoryPlan } from './plan.ts';

/** Formats a plan as JSON, piece by piece, as docs/clean-up.md describes it, without invisible characters. */
export function* planJson(plan: Plan): Generator<string> {
  const { asOfMs, recordSinceMs, goes, rules, unruled, totals, exempt } = plan;
  yield '{';
  yield* members({
    asOf: time(asOfMs),
    recordSince: time(recordSinceMs),
    goes,
    totals,
    rules: rules.map(({ rule, words, kept, retired }) => ({ rule, keep: words, kept, retired })),
    unruled,
    exempt: {
      restored: {
        tags: exempt.restored.tags,
        manifests: exempt.restored.manifests,
        until: time(exempt.restored.untilMs),
      },
      askedFor: exempt.askedFor,
      leftAlone: exempt.leftAlone.map(({ name, untilMs }) => ({ repository: name, until: time(untilMs) })),
    },
  });
  yield '\n  "repositories": ';
  yield* list(plan.repositories, repositoryJson);
  yield ',\n  "blobs": ';
  yield* list(plan.blobs, (blob) => blob);
  yield ',';
  const { warnings, faults, moreFaults } = plan;
  let rest = '';
  for (const member of members({ warnings, faults, moreFaults })) rest += member;
  yield `${rest.slice(0, -1)}\n}\n`;
}

function* members(values: Readonly<Record<string, unknown>>): Generator<string> {
  for (const [name, value] of Object.entries(values))
    yield `\n  ${JSON.stringify(name)}: ${format(value, '  ')},`;
}

/** An array whose items may be many. */
function* list<Item>(items: Iterable<Item>, read: (item: Item) => unknown): Generator<string> {
  let before = '[';
  for (const item of items) {
    yield `${before}\n    ${format(read(item), '    ')}`;
    before = ',';
  }
  yield before === '[' ? '[]' : '\n  ]';
}

function format(value: unknown, indent: string): string {
  return escapeInvisible(JSON.stringify(value, null, 2)).replaceAll('\n', `\n${indent}`);
}

function repositoryJson({ name, tags, manifests, links, stays }: RepositoryPlan) {
  return {
    repository: name,
    tags: tags.map(({ tag, digest, goes, rule, why, pushedMs, pulledMs, bytes }) => ({
      tag,
      digest,
      goes,
      rule,
      why,
      pushed: time(pushedMs),
      lastPull: time(pulledMs),
      bytes,
    })),
    manifests: manifests.map(({ digest, isOfTag, pushedMs, pulledMs, untaggedMs, bytes }) => ({
      digest,
      why: isOfTag ? 'its tags go' : 'untagged',
      untaggedSince: time(untaggedMs),
      pushed: time(pushedMs),
      lastPull: time(pulledMs),
      bytes,
    })),
    links,
    stays,
  };
}

function time(ms: number | null): string | null {
  // A file's time can be later than the latest of a Date.
  return ms === null ? null : new Date(Math.min(ms, 8.64e15)).toISOString();
}

/** A terminal would act on them; JSON itself escapes only those below U+0020. */
function escapeInvisible(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
