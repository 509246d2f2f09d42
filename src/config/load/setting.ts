import { configKeys } from '../schema/key-list.ts';
import { parseYamlTree, type YamlNode } from './yaml-tree.ts';

/** A value that a source gives to a key, in YAML form, and where it is written (`file:line`, a variable, a flag). */
export type Setting = {
  readonly place: string;
  readonly value: unknown;
  /** Where a part of it is written, by its path within it; left out: there, too. */
  readonly placeOf?: (path: readonly PropertyKey[]) => string;
};

/**
 * Brings the text of an environment variable, a flag or `_env:` into the YAML form of its key.
 * @throws RangeError that says why it has none.
 */
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
    case 'yaml': {
      const { root, faults } = parseYamlTree(text);
      const [fault] = faults;
      if (root === undefined || fault !== undefined) throw new RangeError(fault?.wrong ?? 'is empty');
      return readTree(root);
    }
    case 'text':
    case undefined:
      return text;
  }
}

/**
 * The value of a node and all below it.
 * @throws RangeError for one that is empty: it would mean its default, which for a policy is that everything is allowed.
 */
export function readTree(node: YamlNode): unknown {
  if (node.kind === 'scalar' && node.value === null)
    throw new RangeError('is empty: leave the key out, or write [] or {} for nothing');
  return toValue(node);
}

function toValue(node: YamlNode): unknown {
  switch (node.kind) {
    case 'scalar':
      return node.value;
    case 'list':
      return node.items.map(toValue);
    case 'mapping':
      return Object.fromEntries([...node.entries].map(([name, entry]) => [name, toValue(entry.node)]));
  }
}
