import { configKeys } from './key-list.ts';

/** A value that a source gives to a key, in YAML form, and where it is written (`file:line`, a variable, a flag). */
export type Setting = { readonly place: string; readonly value: unknown };

/** Brings the text of an environment variable, a flag or `_env:` into the YAML form of its key. */
export function parseText(keyPath: string, text: string): unknown {
  const key = configKeys.get(keyPath);
  if (key?.isNullable === true && text === '') return null;
  switch (key?.textForm) {
    case 'list':
      return text === '' ? [] : text.split(',').map((item) => item.trim());
    case 'integer':
      return /^[0-9]{1,15}$/.test(text) ? Number(text) : text;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'text':
    case undefined:
      return text;
  }
}
