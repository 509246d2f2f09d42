import { configKeys } from '../schema/key-list.ts';
import { parseYamlTree, type YamlNode } from './yaml-tree.ts';

/** The value of a key from one source, in YAML form, and its place (`file:line`, a variable, a flag). */
export type Setting = {
  readonly place: string;
  readonly value: unknown;
  /** The place of a part, by its path; left out: the same. */
  readonly placeOf?: (path: readonly PropertyKey[]) => string;
};

/**
 * Converts the text of an environment variable, a flag or `_env:` to the YAML form of its key.
 * @throws RangeError that says why it can't.
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
 * Reads the value of a node and all below it.
 * @throws RangeError for an empty one: it would mean the default, which for a policy allows everything.
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
