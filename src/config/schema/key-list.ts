import * as z from 'zod';
import { keyDescriptions, type KeyType } from './types/key-type.ts';
import { findNearName } from '../load/near-name.ts';
import { configSchema, type Config } from './schema.ts';

/** A key of the configuration with everything that is known of it. */
export type ConfigKey = KeyType & {
  /** `name`, `section.name`, or `section.group.name` */
  readonly path: string;
  /** The path's parts. */
  readonly segments: readonly string[];
  /** Empty for a key outside all sections. */
  readonly section: string;
  readonly name: string;
  /** Its type with its default, as it stands in the schema. */
  readonly field: z.ZodType;
  /** The default in YAML form. */
  readonly fallback: unknown;
  readonly description: string;
};

/** The top-level names of a document, sections and keys, in the schema's order. */
export const topNames: readonly string[] = Object.keys(configSchema.shape);

/** Every key by its path, in the schema's order. */
export const configKeys: ReadonlyMap<string, ConfigKey> = new Map(
  listKeys([], configSchema).map((key) => [key.path, key]),
);

/** The sections' names, in the schema's order. */
export const sectionNames: readonly string[] = topNames.filter((name) => !configKeys.has(name));

/** The paths that hold keys: the sections, and the groups within them. */
export const groupPaths: ReadonlySet<string> = new Set(
  [...configKeys.values()].flatMap(({ segments }) =>
    segments.slice(1).map((_, i) => segments.slice(0, i + 1).join('.')),
  ),
);

function listKeys(prefix: readonly string[], { shape }: z.ZodObject): ConfigKey[] {
  return Object.entries(shape as Readonly<Record<string, z.ZodType>>).flatMap(
    ([name, field]): ConfigKey[] => {
      const segments = [...prefix, name];
      if (field instanceof z.ZodObject) return listKeys(segments, field);
      const path = segments.join('.');
      const description = keyDescriptions.get(field);
      if (description === undefined) throw new Error(`${path} is not made with key()`);
      return [{ ...description, path, segments, section: prefix[0] ?? '', name, field }];
    },
  );
}

/** The value of a key, or a whole group, by the parts of its path. */
export function readConfigValue(config: Config, segments: readonly string[]): unknown {
  return segments.reduce<unknown>(
    (group, name) => (group as Readonly<Record<string, unknown>>)[name],
    config,
  );
}

/** Describes the fault of an unknown section. */
export function explainUnknownSection(name: string): string {
  const near = findNearName(name, topNames) ?? findByName(name);
  return `there is no such section${near === undefined ? '' : `, did you mean ${near}?`}`;
}

/** Describes the fault of an unknown key; also finds a right name in the wrong section. */
export function explainUnknownKey(path: string): string {
  const near = findByName(path.slice(path.indexOf('.') + 1)) ?? findNearName(path, configKeys.keys());
  return `there is no such key${near === undefined ? '' : `, did you mean ${near}?`}`;
}

function findByName(name: string): string | undefined {
  const same = [...configKeys.values()].filter((key) => key.name.toLowerCase() === name.toLowerCase());
  return same.length === 1 ? same[0]?.path : undefined;
}
