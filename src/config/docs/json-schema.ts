import * as z from 'zod';
import { configKeys, groupPaths, topNames, type ConfigKey } from '../schema/key-list.ts';

/**
 * Renders the JSON Schema (draft 7, which editors support best) of a flat file and of one with flavors; ends with a
 * newline.
 */
export function formatJsonSchema(): string {
  const properties = Object.fromEntries(
    topNames.map((name) => {
      const key = configKeys.get(name);
      return [name, key === undefined ? describeGroup(name) : describeKey(key)];
    }),
  );
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Tidegate configuration',
    anyOf: [
      { $ref: '#/definitions/document' },
      {
        type: 'object',
        description: 'Flavors: common is merged under the chosen one.',
        propertyNames: { not: { enum: topNames } },
        additionalProperties: { $ref: '#/definitions/document' },
      },
    ],
    definitions: {
      envReference: {
        type: 'string',
        pattern: '^_env:[A-Za-z_][A-Za-z0-9_]*(:.*)?$',
        description: 'The value of an environment variable: _env:NAME or _env:NAME:default.',
      },
      document: { type: ['object', 'null'], additionalProperties: false, properties },
    },
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

function describeGroup(group: string): object {
  const depth = group.split('.').length;
  const within = (path: string) => path.startsWith(`${group}.`) && path.split('.').length === depth + 1;
  const keys = [...configKeys.values()].filter((key) => within(key.path));
  const groups = [...groupPaths].filter(within);
  const properties = Object.fromEntries([
    ...keys.map((key) => [key.name, describeKey(key)] as const),
    ...groups.map((path) => [path.slice(group.length + 1), describeGroup(path)] as const),
  ]);
  return { type: ['object', 'null'], additionalProperties: false, properties };
}

function describeKey(key: ConfigKey): object {
  const own = z.toJSONSchema(key.field, { io: 'input', target: 'draft-7' });
  delete own.$schema;
  const { description, default: fallback, ...type } = own;
  return { description, default: fallback, anyOf: [type, { $ref: '#/definitions/envReference' }] };
}
