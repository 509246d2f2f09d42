/** How much is tried: `quick` in a minute or two a part, as `npm run test:all` does; `ci` in about five; `long` as the published figures. */
export type Form = 'quick' | 'ci' | 'long';

/** One thing that is tried. */
export type Trial = {
  /** What a person reads: what was done, and what must hold. */
  readonly name: string;
  /** Gives how many cases it was, 1 where nothing is given. Rejects when something broke: a finding, in words that let it be repeated. */
  run(): Promise<number | Measured | void>;
};

/** Cases, and what was measured with them, in a sentence. */
export type Measured = { readonly cases: number; readonly figure: string };

/** A part of the suite, against one front door that its trials share and that must survive them all. */
export type Part = {
  readonly name: string;
  open(options: { readonly form: Form; readonly seed: number }): Promise<{
    readonly trials: readonly Trial[];
    /** Frees everything. Rejects when the front door did not survive: something leaked, a bystander noticed. */
    close(): Promise<void>;
  }>;
};
