/** The form: `quick` takes a minute or two a part, as in `npm run test:all`; `ci` about five; `long` gives the published figures. */
export type Form = 'quick' | 'ci' | 'long';

/** A trial: one thing that the suite tries. */
export type Trial = {
  /** For people: what it does, and what must hold. */
  readonly name: string;
  /** Returns the number of cases; nothing means 1. Rejects with a finding, in words that let it be repeated. */
  run(): Promise<number | Measured | void>;
};

/** Cases, and what was measured with them, in a sentence. */
export type Measured = { readonly cases: number; readonly figure: string };

/** A part of the suite: its trials share one Tidegate, which must survive them all. */
export type Part = {
  readonly name: string;
  open(options: { readonly form: Form; readonly seed: number }): Promise<{
    readonly trials: readonly Trial[];
    /** Frees everything. Rejects if Tidegate did not survive, leaked something, or disturbed a bystander. */
    close(): Promise<void>;
  }>;
};
