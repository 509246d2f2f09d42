import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { stringify } from 'yaml';
import { sectionNames } from '../../../src/config/schema/key-list.ts';
import { OperatorError } from '../../../src/system/operator-error.ts';
import { root } from '../../support/processes.ts';
import { loadText } from './load-text.ts';

describe('loadConfig: whatever is in the file', () => {
  /** Loads, or fails with an OperatorError; anything else fails the test. */
  async function survive(text: string): Promise<void> {
    await loadText(text).catch((error: unknown) => {
      assert.ok(error instanceof OperatorError, String(error));
      assert.notEqual(error.message, '');
    });
    assert.deepEqual(Object.keys(Object.prototype), []);
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  }

  it('text', async () => {
    const piece = fc.constantFrom(
      ...[
        '- ',
        ': ',
        '\n',
        '  ',
        '&a ',
        '*a ',
        '<<: ',
        '!!map ',
        '? ',
        '| ',
        '{',
        '}',
        '[',
        ']',
        '"',
        "'",
        '#',
        '%YAML 1.1\n',
        '---\n',
      ],
      ...['__proto__', 'polluted', '_env:', '\t', '\0', 'ü', '0', 'null', ...sectionNames],
    );
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.array(piece).map((pieces) => pieces.join('')),
    );
    await fc.assert(fc.asyncProperty(text, survive), { numRuns: 300 });
  });

  it('JSON and YAML of any value', async () => {
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom('443', '5s', '_env:X', '_env:', '', 'auto', null, true, 0, -1, 1.5, NaN, Infinity),
        fc.string(),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(
          fc.oneof(
            fc.constantFrom(
              '__proto__',
              'constructor',
              'polluted',
              'url',
              'port',
              'open',
              'common',
              'dev',
              ...sectionNames,
            ),
            fc.string(),
          ),
          tie('value'),
          { maxKeys: 4 },
        ),
      ),
    }));
    const text = fc.oneof(
      value.map((any) => JSON.stringify(any)),
      value.map((any) => stringify(any)),
    );
    await fc.assert(fc.asyncProperty(text, survive), { numRuns: 300 });
  });

  it('an odd value at any key', async () => {
    const schema = JSON.parse(readFileSync(`${root}config/schema.json`, 'utf8')) as Schema;
    const paths = new Map(keyPaths(schema, schema.definitions).map((path) => [path.join('.'), path]));
    assert.ok(paths.size > 200);
    for (const path of paths.values())
      for (const odd of [null, 5, {}, [{}]]) await survive(stringify(nest(path, odd)));
  });
});

type Definitions = Readonly<Record<string, Schema>>;
type Schema = {
  readonly $ref?: string;
  readonly definitions?: Definitions;
  readonly properties?: Definitions;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
};
type KeyPath = readonly (string | number)[];

/** The paths of a JSON schema's keys; 0 is an entry of a list. */
function keyPaths(schema: Schema, definitions: Definitions = {}): KeyPath[] {
  const { $ref, properties = {}, items, anyOf = [] } = schema;
  if ($ref !== undefined) return keyPaths(definitions[$ref.split('/').at(-1) ?? ''] ?? {}, definitions);
  const below: [string | number, Schema][] = Object.entries(properties);
  if (items !== undefined) below.push([0, items]);
  return [
    ...below.flatMap(([key, inner]) => [
      [key],
      ...keyPaths(inner, definitions).map((path) => [key, ...path]),
    ]),
    ...anyOf.flatMap((each) => keyPaths(each, definitions)),
  ];
}

function nest(path: KeyPath, value: unknown): unknown {
  return path.reduceRight((inner, key) => (typeof key === 'number' ? [inner] : { [key]: inner }), value);
}
