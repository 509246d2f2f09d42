import { isEnvReference, parseEnvReference } from './env-reference.ts';
import {
  configKeys,
  explainUnknownKey,
  explainUnknownSection,
  sectionNames,
  type ConfigKey,
} from './key-list.ts';
import type { Problem } from './problem.ts';
import { parseText, type Setting } from './setting.ts';
import type { YamlMapping, YamlNode } from './yaml-tree.ts';

type Found = { readonly settings: Map<string, Setting>; readonly problems: Problem[] };

/** Finds every key of a document in the schema and resolves `_env:`; `shown` is the file's name in problems. */
export function readSettings(document: YamlMapping, shown: string, env: NodeJS.ProcessEnv): Found {
  const found: Found = { settings: new Map(), problems: [] };
  for (const [section, { line, node }] of document.entries) {
    const place = `${shown}:${line}`;
    if (!sectionNames.includes(section)) {
      found.problems.push({
        place,
        key: section,
        wrong: explainUnknownSection(section),
        allowed: sectionNames.join(', '),
      });
    } else if (node.kind === 'mapping') {
      readSection(section, node, shown, env, found);
    } else if (node.kind === 'list' || node.value !== null) {
      // A section whose keys are all commented out is null, and means its defaults.
      found.problems.push({ place, key: section, wrong: 'must be a mapping of keys' });
    }
  }
  return found;
}

function readSection(
  section: string,
  mapping: YamlMapping,
  shown: string,
  env: NodeJS.ProcessEnv,
  { settings, problems }: Found,
): void {
  for (const [name, { line, node }] of mapping.entries) {
    const path = `${section}.${name}`;
    const key = configKeys.get(path);
    if (key === undefined) {
      const names = [...configKeys.values()]
        .filter((other) => other.section === section)
        .map((other) => other.name);
      problems.push({
        place: `${shown}:${line}`,
        key: path,
        wrong: explainUnknownKey(path),
        allowed: names.join(', '),
      });
      continue;
    }
    // A scalar's or list's own line, so that a value from `common` or an anchor is named where it is written.
    const place = `${shown}:${node.line}`;
    try {
      settings.set(path, { place, value: readValue(key, node, env) });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      problems.push({ place, key: path, wrong: error.message, allowed: key.allowed });
    }
  }
}

/** Throws a RangeError that says what is wrong. */
function readValue(key: ConfigKey, node: YamlNode, env: NodeJS.ProcessEnv): unknown {
  if (node.kind === 'mapping') throw new RangeError('must be a value, not a mapping');
  if (node.kind === 'list') return node.items.map((item) => readItem(item, env));
  if (!isEnvReference(node.value)) return node.value;
  const { name, fallback } = parseEnvReference(node.value);
  const text = env[name] ?? fallback ?? (key.isNullable === true ? '' : undefined);
  if (text === undefined) throw new RangeError(`the environment variable ${name} is not set`);
  return parseText(key.path, text);
}

function readItem(item: YamlNode, env: NodeJS.ProcessEnv): unknown {
  if (item.kind !== 'scalar') throw new RangeError(`an item must be text, not a ${item.kind}`);
  if (!isEnvReference(item.value)) return item.value;
  const { name, fallback } = parseEnvReference(item.value);
  const text = env[name] ?? fallback;
  if (text === undefined) throw new RangeError(`the environment variable ${name} is not set`);
  return text;
}
