import { describeDuration } from '../rules/rule-text.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { DoorsError, type Doors, type DoorsFacts } from './doors.ts';
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
function describeGraceEnd(endMs: number, graceMs: number): string {
  return `Nothing is taken before ${formatMinute(endMs)}: clean.grace (${describeDuration(graceMs)}) must pass after the start of Tidegate, which does not know what was asked for before.`;
}

/** A run would take nothing now, and time alone mends it: nobody need do anything. */
export class PutOffError extends OperatorError {
  readonly wait: GraceWait;
  constructor(wait: GraceWait) {
    super(wait.why);
    this.wait = wait;
  }
}

/** @throws PutOffError before a run takes anything; DoorsError when the front doors cannot be relied on */
export async function checkGrace(doors: Pick<Doors, 'check'>, nowMs: () => number): Promise<DoorsFacts> {
  try {
    const facts = await doors.check();
    const untilMs = findGraceEnd(facts, nowMs());
    if (untilMs === null) return facts;
    throw new PutOffError({ untilMs, why: describeGraceEnd(untilMs, facts.graceMs) });
  } catch (error) {
    const untilMs = error instanceof DoorsError ? error.endsMs : null;
    throw untilMs === null ? error : new PutOffError({ untilMs, why: (error as Error).message });
  }
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
    await checkGrace(doors, nowMs);
    return null;
  } catch (error) {
    if (error instanceof PutOffError) return error.wait;
    if (error instanceof DoorsError) return null;
    throw error;
  }
}
