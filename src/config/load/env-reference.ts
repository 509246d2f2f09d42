/** A parsed `_env:NAME` or `_env:NAME:default`; the default may hold colons. */
type EnvReference = { readonly name: string; readonly fallback: string | undefined };

/** Reads a value that begins with `_env:`; throws a RangeError when no variable's name follows. */
export function parseEnvReference(text: string): EnvReference {
  const [, name, fallback] = /^_env:([A-Za-z_][A-Za-z0-9_]*)(?::(.*))?$/s.exec(text) ?? [];
  if (name === undefined) {
    throw new RangeError('begins with _env: but no variable follows: write _env:NAME or _env:NAME:default');
  }
  return { name, fallback };
}

/** Whether a value of the file refers to an environment variable. */
export function isEnvReference(value: unknown): value is string {
  return typeof value === 'string' && value.startsWith('_env:');
}
