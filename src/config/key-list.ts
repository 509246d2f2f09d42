import type * as z from 'zod';
import { keyDescriptions, type KeyType } from './key-type.ts';
import { findNearName } from './near-name.ts';
import { configSchema } from './schema.ts';

/** A key of the configuration with everything that is known of it. */
export type ConfigKey = KeyType & {
  /** `section.name` */
  readonly path: string;
  readonly section: string;
  readonly name: string;
  /** The default in YAML form. */
  readonly fallback: unknown;
  readonly description: string;
};

/** The sections' names, in the schema's order. */
export const sectionNames: readonly string[] = Object.keys(configSchema.shape);

/** Every key by its path, in the schema's order. */
export const configKeys: ReadonlyMap<string, ConfigKey> = new Map(
  Object.entries(configSchema.shape).flatMap(([section, { shape }]) =>
    Object.entries<z.ZodType>(shape).map(([name, schema]): [string, ConfigKey] => {
      const description = keyDescriptions.get(schema);
      if (description === undefined) throw new Error(`${section}.${name} is not made with key()`);
      const path = `${section}.${name}`;
      return [path, { ...description, path, section, name }];
    }),
  ),
);

/** What is wrong with a section that does not exist. */
export function explainUnknownSection(name: string): string {
  const near = findNearName(name, sectionNames) ?? findByName(name);
  return `there is no such section${near === undefined ? '' : `, did you mean ${near}?`}`;
}

/** What is wrong with a key that does not exist; a right name in the wrong section is found too. */
export function explainUnknownKey(path: string): string {
  const near = findByName(path.slice(path.indexOf('.') + 1)) ?? findNearName(path, configKeys.keys());
  return `there is no such key${near === undefined ? '' : `, did you mean ${near}?`}`;
}

function findByName(name: string): string | undefined {
  const same = [...configKeys.values()].filter((key) => key.name.toLowerCase() === name.toLowerCase());
  return same.length === 1 ? same[0]?.path : undefined;
}
