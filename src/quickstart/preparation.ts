/**
 * Functions of the preparation for the rest of `npm start`. The preparation is plain JavaScript that runs before
 * anything is compiled, so it is passed instead of imported.
 */
export type Preparation = {
  /** Runs `work`, shows it as one line with its duration, and returns its result; `say` prints progress below it. */
  readonly step: <T extends Outcome>(title: string, work: (say: Say) => Promise<T>) => Promise<T>;
  /** The path of a program on PATH; undefined when there is none. */
  readonly findProgram: (name: string) => string | undefined;
  /** Why packages may not be installed from here, and what to do; undefined when they may. */
  readonly whyNotInstall: (wanted: readonly DebianPackage[]) => string | undefined;
  /** Installs missing packages; returns those still missing. */
  readonly installPackages: (wanted: readonly DebianPackage[]) => Promise<DebianPackage[]>;
};

/** The outcome of a step, in a few words. */
export type Outcome = { readonly outcome: string };

export type Say = (text: string) => void;

export type DebianPackage = { readonly program: string; readonly package: string };
