import * as z from 'zod';
import { configKeys, sectionNames, type ConfigKey } from './key-list.ts';
import { configSchema } from './schema.ts';

/** The JSON Schema (draft 7, which editors know best) of a flat file and of one with flavors; ends with a newline. */
export function formatJsonSchema(): string {
  const sections = Object.fromEntries(
    sectionNames.map((section) => {
      const keys = [...configKeys.values()].filter((key) => key.section === section);
      const properties = Object.fromEntries(keys.map((key) => [key.name, describeKey(key)]));
      return [section, { type: ['object', 'null'], additionalProperties: false, properties }];
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
        propertyNames: { not: { enum: sectionNames } },
        additionalProperties: { $ref: '#/definitions/document' },
      },
    ],
    definitions: {
      envReference: {
        type: 'string',
        pattern: '^_env:[A-Za-z_][A-Za-z0-9_]*(:.*)?$',
        description: 'The value of an environment variable: _env:NAME or _env:NAME:default.',
      },
      document: { type: ['object', 'null'], additionalProperties: false, properties: sections },
    },
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

function describeKey(key: ConfigKey): object {
  const section = configSchema.shape[key.section as keyof typeof configSchema.shape];
  const schema = (section.shape as Record<string, z.ZodType>)[key.name];
  if (schema === undefined) throw new Error(`${key.path} is not in the schema`);
  const own = z.toJSONSchema(schema, { io: 'input', target: 'draft-7' });
  delete own.$schema;
  const { description, default: fallback, ...type } = own;
  return { description, default: fallback, anyOf: [type, { $ref: '#/definitions/envReference' }] };
}
