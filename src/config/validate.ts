import path from 'node:path';
import type * as z from 'zod';
import { configKeys, sectionNames, type ConfigKey } from './key-list.ts';
import type { Problem } from './problem.ts';
import { configSchema, type Config } from './schema.ts';
import type { Setting } from './setting.ts';

/** Checks all settings at once and makes paths absolute; `config` is undefined when there are problems. */
export function validateSettings(
  settings: ReadonlyMap<string, Setting>,
  baseDir: string,
): { config: Config | undefined; problems: Problem[] } {
  const input = Object.fromEntries(sectionNames.map((section) => [section, newSection()]));
  for (const [keyPath, { value }] of settings) {
    const key = configKeys.get(keyPath);
    const section = key && input[key.section];
    if (key !== undefined && section !== undefined) section[key.name] = resolveValue(key, value, baseDir);
  }
  const defaults = [...configKeys.values()].filter((key) => !settings.has(key.path) && key.isPath === true);
  for (const key of defaults) {
    const section = input[key.section];
    if (section !== undefined) section[key.name] = resolveValue(key, key.fallback, baseDir);
  }
  const result = configSchema.safeParse(input);
  if (result.success) return { config: result.data, problems: [] };
  return { config: undefined, problems: result.error.issues.map((issue) => toProblem(issue, settings)) };
}

function newSection(): Record<string, unknown> {
  return {};
}

function resolveValue(key: ConfigKey, value: unknown, baseDir: string): unknown {
  const isPath = key.isPath === true && typeof value === 'string' && value.trim() !== '';
  return isPath ? path.resolve(baseDir, value) : value;
}

function toProblem(issue: z.core.$ZodIssue, settings: ReadonlyMap<string, Setting>): Problem {
  const [section, name, index] = issue.path;
  const keyPath = `${String(section)}.${String(name)}`;
  const key = configKeys.get(keyPath);
  const setting = settings.get(keyPath);
  if (key === undefined || setting === undefined) return { place: keyPath, wrong: issue.message };
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
  if (key.textForm === 'list' && issue.path.length === 2) return `${shown} is not a list`;
  if (key.textForm === 'integer' && typeof value === 'string' && /^[0-9]+$/.test(value)) {
    return `${shown} is text: write the number without quotes`;
  }
  if (key.textForm !== 'integer' && typeof value !== 'string') {
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
