/** How long a tag is kept: as long as one of these holds. */
export type KeepLimits = {
  /** Among the newest so many by push, of the tags in its repository that the rule decides. */
  readonly newest?: number | undefined;
  /** Milliseconds. */
  readonly pushedWithin?: number | undefined;
  readonly pulledWithin?: number | undefined;
};

/** A rule as the configuration has it. */
export type RuleText = {
  readonly repositories: readonly string[];
  readonly tags: readonly string[];
  readonly keep: 'forever' | KeepLimits;
};

/** Describes how long a rule keeps tags, in the words of the configuration. */
export function describeKeep(keep: RuleText['keep']): string {
  if (keep === 'forever') return keep;
  const { newest, pushedWithin, pulledWithin } = keep;
  return [
    ...(newest === undefined ? [] : [`newest ${newest}`]),
    ...(pushedWithin === undefined ? [] : [`pushedWithin ${describeDuration(pushedWithin)}`]),
    ...(pulledWithin === undefined ? [] : [`pulledWithin ${describeDuration(pulledWithin)}`]),
  ].join(', ');
}

const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const;

/** Writes a duration as the configuration does, such as `30d`. */
export function describeDuration(ms: number): string {
  const [unit, factor] = units.find(([, each]) => ms >= each && ms % each === 0) ?? ['ms', 1];
  return `${ms / factor}${unit}`;
}
