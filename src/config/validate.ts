import path from 'node:path';
import type * as z from 'zod';
import { configKeys, groupPaths, type ConfigKey } from './key-list.ts';
import type { Problem } from './problem.ts';
import { configSchema, type Config } from './schema.ts';
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
  return { config: undefined, problems: result.error.issues.map((issue) => toProblem(issue, settings)) };
}

type Group = Record<string, unknown>;

/** The object at this path, made where it is missing. */
function enter(input: Group, segments: readonly string[]): Group {
  return segments.reduce((group, name) => (group[name] ??= {}) as Group, input);
}

function resolveValue(key: ConfigKey, value: unknown, baseDir: string): unknown {
  const isPath = key.isPath === true && typeof value === 'string' && value.trim() !== '';
  return isPath ? path.resolve(baseDir, value) : value;
}

function toProblem(issue: z.core.$ZodIssue, settings: ReadonlyMap<string, Setting>): Problem {
  const names = issue.path.map(String);
  const depth = names.findIndex((_, i) => configKeys.has(names.slice(0, i + 1).join('.'))) + 1;
  const keyPath = names.slice(0, depth).join('.');
  const index = issue.path[depth];
  const key = configKeys.get(keyPath);
  const setting = settings.get(keyPath);
  if (key === undefined || setting === undefined) return { place: names.join('.'), wrong: issue.message };
  const value = index === undefined ? setting.value : (setting.value as unknown[])[Number(index)];
  return {
    place: setting.place,
    key: keyPath,
    wrong: describeFault(issue, key, value),
    allowed: key.allowed,
  };
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
