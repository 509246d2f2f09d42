import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { tidegate } from '../../test/support/processes.ts';

const laughs = [
  '&a [x]',
  ...Array.from(
    { length: 12 },
    (_, i) =>
      `&a${i} [${Array(9)
        .fill(i === 0 ? '*a' : `*a${i - 1}`)
        .join(', ')}]`,
  ),
];

/** Configurations that would reach a prototype, run something, or unfold without end. */
const documents: readonly string[] = [
  '__proto__: { polluted: 1 }\n',
  'constructor: { prototype: { polluted: 1 } }\n',
  'listen: { __proto__: { port: 1 } }\n',
  'groups: { __proto__: [alice], constructor: [alice] }\n',
  'policy: [{ __proto__: { who: [anonymous] }, who: [anonymous], repositories: ["**"], actions: [pull] }]\n',
  'common: &a { __proto__: { polluted: 1 } }\ndev: { <<: *a }\n',
  'listen: !!js/function "function(){ process.exit(7) }"\n',
  '? !!js/undefined x\n: y\n',
  '"__proto__": x\n"\\u005f_proto__": y\n',
  `${laughs.map((line, i) => `k${i}: ${line}`).join('\n')}\n`,
  `${'['.repeat(20_000)}\n`,
  `${'a: {'.repeat(5000)}\n`,
  `a: ${'&x '.repeat(5000)}\n`,
  'toString: x\nvalueOf: y\nhasOwnProperty: z\n',
];
const flags: readonly string[] = [
  '__proto__.polluted=1',
  'constructor.prototype.polluted=1',
  'listen.__proto__.port=1',
  'groups={"__proto__": ["alice"]}',
  'policy=[{"__proto__": {}, "who": ["anonymous"], "repositories": ["**"], "actions": ["pull"]}]',
];

/** Has `config check` read them all: each is refused in plain sentences, within seconds. */
export async function poisonConfiguration(dir: string, isShort: boolean): Promise<number> {
  const refused = async (args: readonly string[], env: NodeJS.ProcessEnv = {}) => {
    const { code, stdout, stderr } = await tidegate(['config', 'check', ...args], {
      cwd: dir,
      env,
      timeoutMs: 30_000,
    });
    assert.equal(code, 1, `${args.join(' ').slice(0, 200)}: ${code} ${stdout}`);
    assert.doesNotMatch(stderr, /^\s+at |node:internal|RangeError|TypeError/m);
    assert.notEqual(stderr.trim(), '');
  };
  const step = isShort ? 3 : 1;
  let tried = 0;
  for (const [number, text] of documents.entries()) {
    if (number % step !== 0) continue;
    const file = path.join(dir, `${number}.yml`);
    await writeFile(file, text);
    await refused(['--config', file]);
    tried += 1;
  }
  for (const [number, flag] of flags.entries()) {
    if (number % step !== 0) continue;
    await refused(['--set', flag]);
    tried += 1;
  }
  await refused([], { TIDEGATE___PROTO___POLLUTED: '1' });
  return tried + 1;
}
