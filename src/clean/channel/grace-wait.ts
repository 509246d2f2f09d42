import { describeDuration } from '../rules/rule-text.ts';

type GraceFacts = { readonly leasesSince: number; readonly graceMs: number };

/**
 * From when on a run takes anything: clean.grace after the front doors began to know what they answered. To the next
 * minute. Null: it does now.
 */
export function findGraceEnd({ leasesSince, graceMs }: GraceFacts, nowMs: number): number | null {
  const endMs = leasesSince + graceMs;
  return nowMs < endMs ? Math.ceil(endMs / minuteMs) * minuteMs : null;
}

const minuteMs = 60_000;

/** Says why nothing is taken before then. */
export function describeGraceEnd(endMs: number, graceMs: number): string {
  return `Nothing is taken before ${formatMinute(endMs)}: clean.grace (${describeDuration(graceMs)}) must pass after the start of Tidegate, which does not know what was asked for before.`;
}

/** In UTC. */
function formatMinute(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')}Z`;
}
