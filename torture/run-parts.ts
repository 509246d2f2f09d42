import { setTimeout as delay } from 'node:timers/promises';
import { within } from './support/within.ts';
import type { Form, Measured, Part, Trial } from './trial.ts';

/** The result of one part in one run. */
export type PartResult = {
  readonly name: string;
  /** The cases tried, and those that survived. A broken trial counts as one case. */
  readonly tried: number;
  readonly survived: number;
  readonly seconds: number;
  /** What was measured, one sentence each. */
  readonly figures: readonly string[];
  /** One sentence for each broken trial. */
  readonly broke: readonly string[];
};

export type RunOptions = {
  readonly form: Form;
  readonly seed: number;
  /** Ends the run: closes what is open, and skips the trials that have not begun. */
  readonly signal: AbortSignal;
  /** Where progress is shown. */
  readonly write: (text: string) => void;
};

/** A trial that takes longer hangs, in milliseconds. */
const longestTrialMs: Readonly<Record<Form, number>> = {
  quick: 240_000,
  ci: 20 * 60_000,
  long: 3 * 60 * 60_000,
};

/** The time limit for freeing a part, which can hang after a trial that did, in milliseconds. */
const longestCloseMs = 5 * 60_000;

/** Runs these parts one after the other. Never rejects: failures are in the results. */
export async function runParts(parts: readonly Part[], options: RunOptions): Promise<PartResult[]> {
  const results: PartResult[] = [];
  for (const part of parts) if (!options.signal.aborted) results.push(await runPart(part, options));
  return results;
}

async function runPart(part: Part, options: RunOptions): Promise<PartResult> {
  const { form, seed, signal, write } = options;
  const broke: string[] = [];
  const figures: string[] = [];
  const partStartedAtMs = performance.now();
  let [tried, survived] = [0, 0];
  const attempt = async (name: string, work: () => Promise<number | Measured>) => {
    write(`  ${name} … `);
    const startedAtMs = performance.now();
    const seconds = () => `${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`;
    try {
      const outcome = await work();
      const { cases, figure } = typeof outcome === 'number' ? { cases: outcome, figure: '' } : outcome;
      tried += cases;
      survived += cases;
      write(`${cases === 0 ? 'ok' : cases.toLocaleString('en')} (${seconds()})\n`);
      if (figure === '') return;
      figures.push(figure);
      write(`    ${figure}\n`);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (signal.aborted) {
        write(`given up (${seconds()})\n`);
        return;
      }
      tried += 1;
      broke.push(`${name}: ${reason}`);
      write(`BROKE (${seconds()})\n    ${reason.replaceAll('\n', '\n    ')}\n`);
    }
  };

  write(`${part.name}\n`);
  let rig: Awaited<ReturnType<Part['open']>> | undefined;
  await attempt('start', async () => {
    rig = await part.open({ form, seed });
    return 0;
  });
  for (const trial of rig?.trials ?? [])
    if (!signal.aborted) await attempt(trial.name, () => runTrial(trial, options));
  const opened = rig;
  if (opened)
    await attempt('everything is back to where it was', async () => {
      await within(longestCloseMs, 'the end of the part', opened.close());
      return signal.aborted ? 0 : 1;
    });
  const seconds = Math.round((performance.now() - partStartedAtMs) / 1000);
  return { name: part.name, tried, survived, seconds, figures, broke };
}

/** Rejects when the trial does, takes too long, or the run is ended. */
async function runTrial(trial: Trial, { form, signal }: RunOptions): Promise<number | Measured> {
  const over = new AbortController();
  const tooLong = delay(longestTrialMs[form], undefined, { signal: over.signal }).then(() => {
    throw new Error(`hangs: not done after ${longestTrialMs[form] / 60_000} minutes`);
  });
  const ended = new Promise<never>((_, reject) => {
    const end = () => reject(new Error('ended'));
    signal.addEventListener('abort', end, { signal: over.signal });
  });
  tooLong.catch(() => {}); // aborted when the trial is done
  try {
    return (await Promise.race([trial.run(), tooLong, ended])) ?? 1;
  } finally {
    over.abort();
  }
}
