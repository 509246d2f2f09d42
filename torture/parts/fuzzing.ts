import fc from 'fast-check';
import { fileTargets } from '../support/file-targets.ts';
import { attempt, fuzz, type FuzzTarget } from '../support/fuzz-target.ts';
import { openRawBytesRig } from '../support/raw-bytes.ts';
import { requestTargets } from '../support/request-targets.ts';
import { loadSeeds } from '../support/seeds.ts';
import { damageTokens, tokenTargets } from '../support/token-targets.ts';
import type { Form, Part, Trial } from '../trial.ts';

/** How much time each parser has on a machine of 2020, in seconds, what of that fast-check has, and connections. */
const amounts: Readonly<
  Record<Form, { readonly grammarS: number; readonly properties: number; readonly connections: number }>
> = {
  quick: { grammarS: 0.25, properties: 500, connections: 200 },
  ci: { grammarS: 5, properties: 10_000, connections: 3000 },
  long: { grammarS: 20, properties: 60_000, connections: 20_000 },
};
/** Yields to the event loop, so that Tidegate's log is read. */
const perTurn = 2000;

const targets: readonly FuzzTarget[] = [...requestTargets, ...tokenTargets, ...fileTargets];

/** Parsers in process, with inputs of a grammar and of fast-check; the real program with any bytes. */
export const fuzzing: Part = {
  name: 'fuzzing',
  open: async ({ form, seed }) => {
    const { grammarS, properties, connections } = amounts[form];
    const rig = await openRawBytesRig();
    return {
      trials: [
        { name: 'inputs that broke something once: nothing any more', run: () => Promise.resolve(replay()) },
        ...targets.map((target) => tryGrammar(target, seed, Math.round(grammarS * target.perSecond))),
        ...targets.map((target) => tryProperties(target, seed, properties)),
        {
          name: 'damaged tokens: each is refused, and none throws',
          run: () => damageTokens(seed, properties),
        },
        {
          name: 'bytes within TLS, almost HTTP: every answer is valid, none is a 500, every connection ends',
          run: async () => {
            fail(await rig.sendWithin(seed, connections));
            return connections;
          },
        },
        {
          name: 'bytes on the port, almost TLS: every connection ends, and others go on',
          run: async () => {
            fail(await rig.sendTo(seed, connections));
            return connections;
          },
        },
      ],
      close: () => rig.close(),
    };
  },
};

function replay(): number {
  const seeds = loadSeeds();
  for (const { target: name, input, broke } of seeds) {
    const target = targets.find((one) => one.name === name);
    if (target === undefined) throw new Error(`a seed is for ${name}, which there is not`);
    const error = attempt(target, input);
    if (error !== null) throw new Error(`${broke} Again: ${error}`);
  }
  return seeds.length;
}

function tryGrammar(target: FuzzTarget, seed: number, count: number): Trial {
  return {
    name: `${target.name}: almost right, from a grammar`,
    run: async () => {
      for (let from = 0; from < count; from += perTurn) {
        const broken = fuzz(target, seed, from, Math.min(count, from + perTurn));
        if (broken !== null)
          throw new Error(`seed ${seed}, ${JSON.stringify(broken.input)}: ${broken.error}`);
        await new Promise((resolve) => setImmediate(resolve));
      }
      return count;
    },
  };
}

/** Arbitrary text from tokens of the parsers; fast-check shrinks what breaks something. */
function tryProperties(target: FuzzTarget, seed: number, numRuns: number): Trial {
  const piece = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.string({ unit: 'binary-ascii', maxLength: 30 }),
    fc.constantFrom(
      '/',
      '%2e',
      '..',
      ':',
      '\n',
      '\r\n',
      ',',
      ';q=0',
      '$2y$31$',
      'Basic ',
      '{',
      '__proto__',
      ' ',
      '=',
      '&a ',
      '*a',
    ),
  );
  const inputs = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''));
  return {
    name: `${target.name}: any text, from fast-check`,
    run: async () => {
      // The slow ones have fewer, in proportion.
      const runs = Math.max(100, Math.min(numRuns, target.perSecond));
      fc.assert(
        fc.property(inputs, (input) => {
          target.check(input);
        }),
        { numRuns: runs, seed },
      );
      await Promise.resolve();
      return runs;
    },
  };
}

function fail(faults: readonly string[]): void {
  if (faults.length > 0)
    throw new Error(`${faults.length} faults, the first: ${faults.slice(0, 3).join('\n')}`);
}
