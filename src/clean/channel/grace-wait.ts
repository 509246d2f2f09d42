import { describeDuration } from '../rules/rule-text.ts';
import { DoorsError, type Doors } from './doors.ts';
import { formatMinute, minuteMs } from './minute.ts';

type GraceFacts = { readonly leasesSince: number; readonly graceMs: number };

/**
 * From when on a run takes anything: clean.grace after the front doors began to know what they answered. To the next
 * minute. Null: it does now.
 */
export function findGraceEnd({ leasesSince, graceMs }: GraceFacts, nowMs: number): number | null {
  const endMs = leasesSince + graceMs;
  return nowMs < endMs ? Math.ceil(endMs / minuteMs) * minuteMs : null;
}

/** Says why nothing is taken before then. */
export function describeGraceEnd(endMs: number, graceMs: number): string {
  return `Nothing is taken before ${formatMinute(endMs)}: clean.grace (${describeDuration(graceMs)}) must pass after the start of Tidegate, which does not know what was asked for before.`;
}

/** What a run has to wait for, and nobody need do anything about. */
export type GraceWait = { readonly untilMs: number; readonly why: string };

/** Null: a run takes something now, or is refused for another reason. */
export async function findGraceWait(
  doors: Pick<Doors, 'arrive' | 'check'>,
  nowMs: () => number,
): Promise<GraceWait | null> {
  try {
    await doors.arrive();
    const facts = await doors.check();
    const endMs = findGraceEnd(facts, nowMs());
    return endMs === null ? null : { untilMs: endMs, why: describeGraceEnd(endMs, facts.graceMs) };
  } catch (error) {
    if (!(error instanceof DoorsError)) throw error;
    return error.endsMs === null ? null : { untilMs: error.endsMs, why: error.message };
  }
}
