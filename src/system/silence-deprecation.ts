/** Silences one deprecation warning of Node, by its code. */
export function silenceDeprecation(silenced: string): void {
  const emitWarning = process.emitWarning.bind(process) as (...args: unknown[]) => void;
  process.emitWarning = (...args: unknown[]) => {
    const [, typeOrOptions, code] = args;
    const given =
      typeof typeOrOptions === 'object' && typeOrOptions !== null && 'code' in typeOrOptions
        ? typeOrOptions.code
        : code;
    if (given !== silenced) emitWarning(...args);
  };
}
