import type { Plan, RepositoryPlan } from './plan.ts';

/** Formats a plan as JSON, as docs/clean-up.md describes it, without invisible characters. Ends with a newline. */
export function planJson(plan: Plan): string {
  const { asOfMs, recordSinceMs, goes, repositories, rules, unruled, totals, exempt, blobs, warnings } = plan;
  const value = {
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
    repositories: repositories.map(repositoryJson),
    blobs: [...blobs],
    warnings,
    faults: plan.faults,
    moreFaults: plan.moreFaults,
  };
  return `${escapeInvisible(JSON.stringify(value, null, 2))}\n`;
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
