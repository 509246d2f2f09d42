import path from 'node:path';
import type * as z from 'zod';
import { editMembers } from '../schema/types/members.ts';
import { configKeys, groupPaths, type ConfigKey } from '../schema/key-list.ts';
import { findNearName } from './near-name.ts';
import type { Problem } from './problem.ts';
import { configSchema, type Config } from '../schema/schema.ts';
import type { Setting } from './setting.ts';

/** Checks all settings at once and makes paths absolute; `config` is undefined when there are problems. */
export function validateSettings(
  settings: ReadonlyMap<string, Setting>,
  baseDir: string,
): { config: Config | undefined; problems: Problem[] } {
  const input: Group = {};
  for (const group of groupPaths) enter(input, group.split('.'));
  for (const key of configKeys.values()) {
    const setting = settings.get(key.path);
    if (setting === undefined && key.isPath !== true) continue;
    const value = setting === undefined ? key.fallback : setting.value;
    enter(input, key.segments.slice(0, -1))[key.name] = resolveValue(key, value, baseDir);
  }
  const result = configSchema.safeParse(input);
  if (result.success) return { config: result.data, problems: [] };
  const issues = result.error.issues.flatMap((issue) => flattenUnion(issue));
  return { config: undefined, problems: issues.map((issue) => toProblem(issue, settings)) };
}

/** The faults of the one alternative that has the value's type; the issue itself if there is none. */
function flattenUnion(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const ofRightType = issue.errors.filter(
    ([first]) => first?.code !== 'invalid_type' || first.path.length > 0,
  );
  const [faults, ...others] = ofRightType;
  if (faults === undefined || others.length > 0) return [issue];
  return faults.flatMap((fault) => flattenUnion({ ...fault, path: [...issue.path, ...fault.path] }));
}

type Group = Record<string, unknown>;

/** Returns the object at this path, and creates it if missing. */
function enter(input: Group, segments: readonly string[]): Group {
  return segments.reduce((group, name) => (group[name] ??= {}) as Group, input);
}

function resolveValue(key: ConfigKey, value: unknown, baseDir: string): unknown {
  if (key.pathMembers !== undefined)
    return editMembers(value, key.pathMembers, (member) => resolvePath(member, baseDir));
  if (key.isPath !== true) return value;
  if (Array.isArray(value)) return value.map((item) => resolveValue(key, item, baseDir));
  return resolvePath(value, baseDir);
}

function resolvePath(value: unknown, baseDir: string): unknown {
  return typeof value === 'string' && value.trim() !== '' ? path.resolve(baseDir, value) : value;
}

function toProblem(issue: z.core.$ZodIssue, settings: ReadonlyMap<string, Setting>): Problem {
  const names = issue.path.map(String);
  const depth = names.findIndex((_, i) => configKeys.has(names.slice(0, i + 1).join('.'))) + 1;
  const keyPath = names.slice(0, depth).join('.');
  const within = issue.path.slice(depth);
  const key = configKeys.get(keyPath);
  const setting = settings.get(keyPath);
  if (key === undefined || setting === undefined) return { place: names.join('.'), wrong: issue.message };
  const value = within.reduce(
    (part, step) => (part as Record<PropertyKey, unknown> | undefined)?.[step],
    setting.value,
  );
  const isSecretMember = key.secretMembers?.includes(
    within.filter((step) => typeof step === 'string').join('.'),
  );
  if (isSecretMember === true) return toTreeProblem(issue, { ...key, isSecret: true }, setting, value);
  if (key.textForm === 'yaml') return toTreeProblem(issue, key, setting, value);
  return {
    place: setting.place,
    key: keyPath,
    wrong: describeFault(issue, key, value),
    allowed: key.allowed,
  };
}

/** A problem in a nested value: the line of that part. */
function toTreeProblem(issue: z.core.$ZodIssue, key: ConfigKey, setting: Setting, value: unknown): Problem {
  const within = issue.path.slice(key.segments.length);
  const place = setting.placeOf?.(within) ?? setting.place;
  const names = [key.path, ...within.filter((step) => typeof step === 'string')];
  const allowedHere = within.length === 0 ? key.allowed : undefined;
  const problem = (wrong: string, allowed = allowedHere): Problem => ({
    place,
    key: names.join('.'),
    wrong,
    ...(allowed === undefined ? {} : { allowed }),
  });
  switch (issue.code) {
    case 'unrecognized_keys':
      return problem(issue.keys.map((name) => explainUnknownName(name, key, within)).join('; '));
    case 'too_small':
      return problem('must have at least one item');
    case 'invalid_value':
      return problem(`${abbreviate(value)} is not allowed`, issue.values.join(', '));
    case 'invalid_key':
      return problem(
        'is not a name of a group: letters, digits, ".", "_" and "-", a letter or digit first, 64 at most',
      );
    case 'invalid_type':
      return problem(
        value === undefined
          ? 'is missing'
          : `${key.isSecret === true ? 'the value' : abbreviate(value)} is not ${nameType(issue.expected)}`,
      );
    case 'invalid_union':
      return problem(value === undefined ? 'is missing' : describeFault(issue, key, value));
    case 'custom':
    case 'invalid_element':
    case 'invalid_format':
    case 'not_multiple_of':
    case 'too_big':
      return problem(describeFault(issue, key, value));
  }
}

/**
 * Describes an unknown key of a nested value; of a section in it, such as upstream of a route, the section's keys count,
 * else those that the key's text lists in braces after the name, such as keep of a rule.
 */
function explainUnknownName(name: string, key: ConfigKey, within: readonly PropertyKey[]): string {
  const inner = within.findLast((step) => typeof step === 'string');
  const ofSection = [...configKeys.values()].flatMap(({ section, name }) =>
    section === inner ? [name] : [],
  );
  const start = inner === undefined ? 0 : key.allowed.indexOf(`${inner}: `);
  const listed = start === -1 ? undefined : /\{([^{}]*)/.exec(key.allowed.slice(start))?.[1];
  const names = ofSection.length > 0 ? ofSection : (listed?.match(/\w+/g) ?? []);
  const near = findNearName(name, names);
  return `there is no such key: ${name}${near === undefined ? '' : `, did you mean ${near}?`}`;
}

const mapping = 'a mapping: write { KEY: VALUE, … }';

function nameType(type: string): string {
  return (
    { array: 'a list', string: 'text (quote it)', object: mapping, record: mapping }[type] ??
    `of type ${type}`
  );
}

function describeFault(issue: z.core.$ZodIssue, key: ConfigKey, value: unknown): string {
  if (issue.code === 'custom' && issue.message !== 'Invalid input') return issue.message;
  const shown = key.isSecret === true ? 'the value' : abbreviate(value);
  if (value === null) return 'must not be empty or null';
  if (key.textForm === 'list' && issue.path.length === key.segments.length) return `${shown} is not a list`;
  if (key.textForm === 'integer' && typeof value === 'string' && /^[0-9]+$/.test(value)) {
    return `${shown} is text: write the number without quotes`;
  }
  const isText = key.textForm === 'text' || key.textForm === 'list';
  if (isText && typeof value !== 'string') {
    const isQuantity = /\bunits\b/.test(key.allowed);
    if (isQuantity && typeof value === 'number') return `${shown} has no unit`;
    return Array.isArray(value) ? 'must be one value, not a list' : `${shown} is not text: quote it`;
  }
  return `${shown} is not allowed`;
}

function abbreviate(value: unknown): string {
  // JSON knows no NaN and no Infinity, which YAML can write.
  const text = typeof value === 'number' ? String(value) : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
