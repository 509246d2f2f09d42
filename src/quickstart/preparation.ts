/**
 * What the preparation lends to the rest of `npm start`: it is plain JavaScript that has to run before anything is
 * compiled, so it is handed over instead of imported.
 */
export type Preparation = {
  /** Runs `work`, shows it as one line with its duration, and returns its result; `say` prints progress below it. */
  readonly step: <T extends Outcome>(title: string, work: (say: Say) => Promise<T>) => Promise<T>;
  /** The path of a program on PATH; undefined when there is none. */
  readonly findProgram: (name: string) => string | undefined;
  /** Why this machine's packages may not be installed from here, with the way out; undefined when they may. */
  readonly whyNotInstall: (wanted: readonly DebianPackage[]) => string | undefined;
  /** Installs what is missing; returns what still is. */
  readonly installPackages: (wanted: readonly DebianPackage[]) => Promise<DebianPackage[]>;
};

/** What a step came to, in a few words. */
export type Outcome = { readonly outcome: string };

export type Say = (text: string) => void;

export type DebianPackage = { readonly program: string; readonly package: string };
