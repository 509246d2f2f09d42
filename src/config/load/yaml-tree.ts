import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, type ParsedNode } from 'yaml';

/** A YAML document with aliases and merge keys resolved; each node knows the line (from 1) where it is written. */
export type YamlNode =
  | YamlMapping
  | { readonly kind: 'list'; readonly line: number; readonly items: readonly YamlNode[] }
  | { readonly kind: 'scalar'; readonly line: number; readonly value: unknown };

export type YamlMapping = {
  readonly kind: 'mapping';
  readonly line: number;
  readonly entries: ReadonlyMap<string, YamlEntry>;
};

/** A value and the line of its key. */
export type YamlEntry = { readonly line: number; readonly node: YamlNode };

export type YamlFault = { readonly line: number; readonly wrong: string };

/** Limits the expansion of aliases of aliases ("billion laughs"), and the depth of the recursion. */
const maxNodes = 100_000;
const maxDepth = 32;

/** Aborts the expansion; never leaves this file. */
class TooLarge extends Error {}

/** Names that reach an object's prototype. Nothing is looked up by them, but no key or flavor may have one. */
const forbiddenNames = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * A placeholder that people write without quotes, and its stand-in while YAML is parsed, which would read its braces as
 * brackets within `[ ]` and `{ }`. The stand-in uses Unicode's private-use characters.
 */
const placeholder = '${user}';
const standIn = '$\uE000user\uE001';

/** Reads YAML 1.2 (core schema) and the merge key `<<` of YAML 1.1; all faults are collected, nothing is thrown. */
export function parseYamlTree(text: string): { root: YamlNode | undefined; faults: YamlFault[] } {
  const lines = new LineCounter();
  const faults: YamlFault[] = [];
  const lineAt = (offset: number) => Math.max(1, lines.linePos(offset).line);
  try {
    const document = parseDocument(text.replaceAll(placeholder, standIn), {
      lineCounter: lines,
      // A "pretty" error repeats the source line, which may hold a password.
      prettyErrors: false,
      // Off, since the library compares all keys pairwise; the conversion below finds duplicates in one pass.
      uniqueKeys: false,
      schema: 'core',
      merge: false,
    });
    for (const fault of [...document.errors, ...document.warnings]) {
      if (fault.code === 'RESOURCE_EXHAUSTION') throw new TooLarge();
      const line = lineAt(fault.pos[0]);
      const wrong =
        fault.code === 'MULTIPLE_DOCS'
          ? 'a second document begins here: one file holds one'
          : `this is not valid YAML: ${fault.message}`;
      // One mistake often causes others in its line.
      if (faults.at(-1)?.line !== line) faults.push({ line, wrong });
    }
    if (faults.length > 0) return { root: undefined, faults };
    const root = convertDocument(document.contents, lineAt, faults);
    return { root, faults };
  } catch (error) {
    // RangeError: the library's recursion exhausted the stack on thousands of nested brackets.
    if (!(error instanceof TooLarge || error instanceof RangeError)) throw error;
    const wrong = `the document is nested deeper than ${maxDepth} levels or unfolds to more than ${maxNodes} values`;
    return { root: undefined, faults: [{ line: 1, wrong }] };
  }
}

function restore(value: unknown): unknown {
  return typeof value === 'string' ? value.replaceAll(standIn, placeholder) : value;
}

function convertDocument(
  contents: ParsedNode | null,
  lineAt: (offset: number) => number,
  faults: YamlFault[],
): YamlNode {
  const anchors = new Map<string, ParsedNode>();
  let nodes = 0;

  function convert(node: ParsedNode | null, depth: number, isUnfolding: boolean, keyLine: number): YamlNode {
    nodes += 1;
    if (nodes > maxNodes || depth > maxDepth) throw new TooLarge();
    if (node === null) return { kind: 'scalar', line: keyLine, value: null };
    const line = lineAt(node.range[0]);
    if (isAlias(node)) {
      const anchored = anchors.get(node.source);
      if (anchored !== undefined) return convert(anchored, depth + 1, true, line);
      faults.push({ line, wrong: `the alias *${node.source} has no anchor before it` });
      return { kind: 'scalar', line, value: null };
    }
    let converted: YamlNode;
    if (isMap(node)) converted = convertMapping(node.items, depth, isUnfolding, line);
    else if (isSeq(node)) {
      const items = node.items.map((item) =>
        convert(isNode(item) ? item : null, depth + 1, isUnfolding, line),
      );
      converted = { kind: 'list', line, items };
    } else converted = { kind: 'scalar', line, value: restore(node.value) };
    // Registered after the content, so that an alias to an unfinished node has no anchor instead of no end; and only
    // where the anchor is written, since a later one of the same name wins (YAML 1.2.2 section 7.1).
    if (node.anchor !== undefined && !isUnfolding) anchors.set(node.anchor, node);
    return converted;
  }

  function convertMapping(
    pairs: readonly { key: ParsedNode; value: ParsedNode | null }[],
    depth: number,
    isUnfolding: boolean,
    mapLine: number,
  ): YamlMapping {
    const own = new Map<string, YamlEntry>();
    const merged = new Map<string, YamlEntry>();
    for (const pair of pairs) {
      const key = isScalar(pair.key) ? pair.key.value : undefined;
      const line = isNode(pair.key) ? lineAt(pair.key.range[0]) : mapLine;
      const node = convert(pair.value, depth + 1, isUnfolding, line);
      if (typeof key !== 'string' || key === '') faults.push({ line, wrong: 'a key must be plain text' });
      else if (key === '<<') addMerged(node, merged, line);
      else if (forbiddenNames.has(key)) faults.push({ line, wrong: `${key} must not be the name of a key` });
      else if (own.has(key)) {
        const first = own.get(key)?.line ?? line;
        faults.push({ line, wrong: `${key} is written twice, first in line ${first}` });
      } else own.set(key, { line, node });
    }
    // The mapping's own keys win over merged ones (yaml.org/type/merge).
    return { kind: 'mapping', line: mapLine, entries: new Map([...merged, ...own]) };
  }

  function addMerged(node: YamlNode, merged: Map<string, YamlEntry>, line: number): void {
    for (const source of node.kind === 'list' ? node.items : [node]) {
      if (source.kind !== 'mapping') faults.push({ line, wrong: '<< needs the alias of a mapping' });
      // The first of several merged mappings wins.
      else for (const [key, entry] of source.entries) if (!merged.has(key)) merged.set(key, entry);
    }
  }

  return convert(contents, 0, false, 1);
}
