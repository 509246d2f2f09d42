import { isEnvReference, parseEnvReference } from './env-reference.ts';
import {
  configKeys,
  explainUnknownKey,
  explainUnknownSection,
  groupPaths,
  topNames,
  type ConfigKey,
} from '../schema/key-list.ts';
import { editMembers } from '../schema/types/members.ts';
import type { Problem } from './problem.ts';
import { parseText, readTree, type Setting } from './setting.ts';
import type { YamlMapping, YamlNode } from './yaml-tree.ts';

type Found = { readonly settings: Map<string, Setting>; readonly problems: Problem[] };

/** Finds every key of a document in the schema and resolves `_env:`; `shown` is the file's name in problems. */
export function readSettings(document: YamlMapping, shown: string, env: NodeJS.ProcessEnv): Found {
  const found: Found = { settings: new Map(), problems: [] };
  for (const [section, { line, node }] of document.entries) {
    const place = `${shown}:${line}`;
    const key = configKeys.get(section);
    if (key !== undefined) {
      readKey(key, node, shown, env, found);
    } else if (!topNames.includes(section)) {
      found.problems.push({
        place,
        key: section,
        wrong: explainUnknownSection(section),
        allowed: topNames.join(', '),
      });
    } else {
      readGroup(section, line, node, shown, env, found);
    }
  }
  return found;
}

/** Reads a section, or a group of keys within one. */
function readGroup(
  group: string,
  groupLine: number,
  mapping: YamlNode,
  shown: string,
  env: NodeJS.ProcessEnv,
  found: Found,
): void {
  if (mapping.kind !== 'mapping') {
    // A section whose keys are all commented out is null: its defaults apply.
    if (mapping.kind === 'scalar' && mapping.value === null) return;
    found.problems.push({ place: `${shown}:${groupLine}`, key: group, wrong: 'must be a mapping of keys' });
    return;
  }
  for (const [name, { line, node }] of mapping.entries) {
    const path = `${group}.${name}`;
    const key = configKeys.get(path);
    if (groupPaths.has(path)) {
      readGroup(path, line, node, shown, env, found);
      continue;
    }
    if (key === undefined) {
      const names = [...configKeys.keys(), ...groupPaths]
        .filter((other) => other.slice(0, other.lastIndexOf('.')) === group)
        .map((other) => other.slice(group.length + 1));
      found.problems.push({
        place: `${shown}:${line}`,
        key: path,
        wrong: explainUnknownKey(path),
        allowed: names.join(', '),
      });
      continue;
    }
    readKey(key, node, shown, env, found);
  }
}

function readKey(
  key: ConfigKey,
  node: YamlNode,
  shown: string,
  env: NodeJS.ProcessEnv,
  { settings, problems }: Found,
): void {
  // The line of the scalar or list itself, so that a value from `common` or an anchor is reported where it is written.
  const place = `${shown}:${node.line}`;
  try {
    const placeOf = (path: readonly PropertyKey[]) => `${shown}:${findLine(node, path)}`;
    settings.set(key.path, { place, value: readValue(key, node, env), placeOf });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    problems.push({ place, key: key.path, wrong: error.message, allowed: key.allowed });
  }
}

/** Throws a RangeError that says what is wrong. */
function readValue(key: ConfigKey, node: YamlNode, env: NodeJS.ProcessEnv): unknown {
  if (key.textForm === 'yaml' && !(node.kind === 'scalar' && isEnvReference(node.value)))
    return editMembers(readTree(node), key.secretMembers ?? [], (secret) => resolveReference(secret, env));
  if (node.kind === 'mapping') throw new RangeError('must be a value, not a mapping');
  if (node.kind === 'list') return node.items.map((item) => readItem(item, env));
  if (!isEnvReference(node.value)) return node.value;
  const { name, fallback } = parseEnvReference(node.value);
  const text = env[name] ?? fallback ?? (key.isNullable === true ? '' : undefined);
  if (text === undefined) throw new RangeError(`the environment variable ${name} is not set`);
  return parseText(key.path, text);
}

/** The line of the node at this path, or of its nearest existing parent. */
function findLine(node: YamlNode, path: readonly PropertyKey[]): number {
  const [step, ...rest] = path;
  const entry = node.kind === 'mapping' ? node.entries.get(String(step)) : undefined;
  const next = node.kind === 'list' ? node.items[Number(step)] : entry?.node;
  return next === undefined ? node.line : findLine(next, rest);
}

/** The value that a reference stands for; any other value is itself. Throws a RangeError. */
function resolveReference(value: unknown, env: NodeJS.ProcessEnv): unknown {
  if (!isEnvReference(value)) return value;
  const { name, fallback } = parseEnvReference(value);
  const text = env[name] ?? fallback;
  if (text === undefined) throw new RangeError(`the environment variable ${name} is not set`);
  return text;
}

function readItem(item: YamlNode, env: NodeJS.ProcessEnv): unknown {
  if (item.kind !== 'scalar') throw new RangeError(`an item must be text, not a ${item.kind}`);
  return resolveReference(item.value, env);
}
