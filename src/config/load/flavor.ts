import { sectionNames, topNames } from '../schema/key-list.ts';
import { findNearName } from './near-name.ts';
import type { YamlEntry, YamlFault, YamlMapping, YamlNode } from './yaml-tree.ts';

/** Chooses the flavor: by the flag, else by the environment. */
export type FlavorChoice = { readonly name: string; readonly by: string; readonly isFlag: boolean };

/** `--flavor`, else TIDEGATE_FLAVOR, else SETTINGS_FLAVOR (the first docker-registry's name for it), else dev. */
export function chooseFlavor(flag: string | undefined, env: NodeJS.ProcessEnv): FlavorChoice {
  if (flag !== undefined) return { name: flag, by: '--flavor', isFlag: true };
  for (const by of ['TIDEGATE_FLAVOR', 'SETTINGS_FLAVOR']) {
    const name = env[by];
    if (name !== undefined && name !== '') return { name, by, isFlag: false };
  }
  return { name: 'dev', by: 'the default', isFlag: false };
}

/** Resolves the flavors of a file: a flat document stays, otherwise `common` is merged under the chosen flavor. */
export function selectFlavor(
  document: YamlMapping,
  choice: FlavorChoice,
): { document: YamlMapping | undefined; flavor: string | null; faults: YamlFault[] } {
  const entries = [...document.entries];
  const flavors = entries.filter(([name, entry]) => isFlavor(name, entry.node));
  const sections = entries.filter(([name]) => topNames.includes(name));
  if (flavors.length === 0) {
    const wrong = `--flavor ${choice.name} is given, but the file has no flavors (top-level mappings such as common, dev, prod): leave the flag out`;
    return choice.isFlag
      ? { document: undefined, flavor: null, faults: [{ line: document.line, wrong }] }
      : { document, flavor: null, faults: [] };
  }
  if (sections.length > 0) {
    const faults = sections.map(([name, { line }]) => ({
      line,
      wrong: `the ${sectionNames.includes(name) ? 'section' : 'key'} ${name} stands beside the flavor ${flavors[0]?.[0] ?? ''}: move it into a flavor, such as common`,
    }));
    return { document: undefined, flavor: null, faults };
  }
  return selectNamed(document, choice);
}

function selectNamed(document: YamlMapping, choice: FlavorChoice) {
  const faults: YamlFault[] = [];
  for (const [name, { line, node }] of document.entries) {
    if (asMapping(node) === undefined)
      faults.push({ line, wrong: `the flavor ${name} must be a mapping of sections` });
  }
  const chosen = document.entries.get(choice.name);
  if (chosen === undefined) {
    const names = [...document.entries.keys()];
    const near = findNearName(choice.name, names);
    const hint = near === undefined ? '' : `, did you mean ${near}?`;
    const wrong = `there is no flavor ${JSON.stringify(choice.name)} (chosen by ${choice.by})${hint}; the file has: ${names.join(', ')}`;
    faults.push({ line: document.line, wrong });
  }
  if (chosen === undefined || faults.length > 0) return { document: undefined, flavor: null, faults };
  const common = document.entries.get('common') ?? chosen;
  const merged = asMapping(mergeUnder(common.node, chosen.node));
  return { document: merged, flavor: choice.name, faults };
}

/** Whether it is a flavor: a mapping with a section or a top-level key in it, or with a flavor's usual name. */
function isFlavor(name: string, node: YamlNode): boolean {
  if (topNames.includes(name)) return false;
  if (['common', 'dev', 'prod', 'test'].includes(name)) return true;
  return node.kind === 'mapping' && topNames.some((top) => node.entries.has(top));
}

/** An empty value (`dev:` and nothing under it) counts as an empty mapping. */
function asMapping(node: YamlNode): YamlMapping | undefined {
  if (node.kind === 'mapping') return node;
  const isEmpty = node.kind === 'scalar' && node.value === null;
  return isEmpty ? { kind: 'mapping', line: node.line, entries: new Map() } : undefined;
}

/** Mappings are merged key by key; anything else, lists too, is replaced. */
function mergeUnder(lower: YamlNode, upper: YamlNode): YamlNode {
  const under = lower.kind === 'mapping' ? lower : undefined;
  const over = under && asMapping(upper);
  if (under === undefined || over === undefined) return upper;
  const entries = new Map<string, YamlEntry>(under.entries);
  for (const [key, entry] of over.entries) {
    const below = entries.get(key);
    entries.set(key, below ? { line: entry.line, node: mergeUnder(below.node, entry.node) } : entry);
  }
  return { kind: 'mapping', line: over.line, entries };
}
