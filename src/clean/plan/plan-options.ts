import type { TagPattern } from '../../policy/tag-pattern.ts';
import type { RuleText } from '../rules/rule-text.ts';
import type { ScanProgress } from '../scan/scan-types.ts';
import type { Exemptions } from './exemptions.ts';
import type { PlanUsage } from './plan-usage.ts';
import type { UntaggedRecord } from './untagged-record.ts';

export type PlanOptions = {
  /** The registry's root directory. */
  readonly root: string;
  /** `clean` of the configuration. */
  readonly clean: {
    readonly rules: readonly RuleText[];
    readonly grace: number;
    readonly untagged: number | null;
    readonly pace: number;
    /** The most memory for digests, in bytes. */
    readonly digestMemory?: number;
  };
  readonly immutableTags: readonly TagPattern[];
  /** Null: what is pulled is not recorded. */
  readonly usage: PlanUsage | null;
  /** What earlier runs saw without a tag. */
  readonly untagged: UntaggedRecord;
  readonly exemptions: Exemptions;
  /** What else is to be known. */
  readonly notes?: readonly string[];
  readonly nowMs: number;
  /** Gives the place of a part of `clean.rules`, such as `config/tidegate.yml:12`. */
  readonly placeOf: (path: readonly (string | number)[]) => string;
  /** Whether the plan has each tag that stays. */
  readonly all?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ScanProgress) => void;
  /** Called at first, with how much data was found so far. */
  readonly onListed?: (blobs: number) => void;
};
