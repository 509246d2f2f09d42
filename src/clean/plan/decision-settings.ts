import type { TagPattern } from '../../policy/tag-pattern.ts';
import { compileRules, type Rules } from '../rules/decide.ts';
import type { RuleText } from '../rules/rule-text.ts';
import { findFirstUntagged, type UntaggedRecord } from './untagged-record.ts';

/** What decides, beside what is in the repository. Durations and times in milliseconds. */
export type DecisionSettings = {
  readonly rules: Rules;
  readonly graceMs: number;
  /** Null: manifests without a tag are kept for ever. */
  readonly untaggedMs: number | null;
  readonly nowMs: number;
  /** When an earlier run first saw a manifest without a tag, and it was not pushed since; null: not known. */
  readonly firstUntaggedMs: (repository: string, manifest: PushedManifest) => number | null;
};

type PushedManifest = { readonly digest: string; readonly linkMtimeMs: number };

/** Reads them from the configuration, and from what earlier runs saw. */
export function readSettings({
  clean,
  immutableTags,
  untagged,
  nowMs,
}: {
  readonly clean: {
    readonly rules: readonly RuleText[];
    readonly grace: number;
    readonly untagged: number | null;
  };
  readonly immutableTags: readonly TagPattern[];
  readonly untagged: UntaggedRecord;
  readonly nowMs: number;
}): DecisionSettings {
  return {
    rules: compileRules(clean.rules, immutableTags),
    graceMs: clean.grace,
    untaggedMs: clean.untagged,
    nowMs,
    firstUntaggedMs: (repository, { digest, linkMtimeMs }) =>
      findFirstUntagged(untagged, { repository, digest }, linkMtimeMs),
  };
}
