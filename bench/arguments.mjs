import { parseArgs } from 'node:util';

/**
 * @param {string[]} args
 * @param {string[]} scenarioNames
 * @returns {{ help: string } | Arguments} throws an Error whose message is for the reader
 *
 * @typedef {{ quick: boolean, rounds: number, only: string[], against: string | undefined, plots: boolean, write: boolean, json: string | undefined, install: boolean }} Arguments
 */
export function parseArguments(args, scenarioNames) {
  const usage = `Usage: npm run bench [-- FLAGS]
  --quick        smaller bodies, shorter measurements, 1 or 2 rounds instead of 5, no crowds, no growth, no clean-…: under 3 minutes in all
  --only A,B     only these: ${scenarioNames.join(', ')}
  --rounds N     how often each is measured
  --against DIR  this checkout and the one in DIR instead, in turns; 10 rounds unless told: what became slower
  --plots        with --quick: growth and its plots too
  --write        write docs/bench/results.md also after a --quick or --only run; a full run always does
  --json FILE    write what was measured in each round
  --no-install   install no Debian packages`;
  const text = { type: 'string' };
  const flag = { type: 'boolean', default: false };
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        ...{ quick: flag, plots: flag, write: flag, help: flag, 'no-install': flag },
        ...{ only: text, rounds: text, json: text, against: text },
      },
    }));
  } catch (error) {
    throw new Error(`${error.message}\n${usage}`);
  }
  if (values.help) return { help: usage };
  const only = values.only?.split(',') ?? [];
  const unknown = only.filter((name) => !scenarioNames.includes(name));
  if (unknown.length > 0) throw new Error(`There is no scenario ${unknown.join(', ')}.\n${usage}`);
  const { quick, plots, json, against } = values;
  if (against !== undefined && (only.length > 0 || plots || values.write))
    throw new Error(`--against measures a set of its own, and writes no pages.\n${usage}`);
  const usualRounds = against === undefined ? (quick ? 2 : 5) : 10;
  const rounds = Number(values.rounds ?? usualRounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds wants a whole number.\n${usage}`);
  const write = values.write || (!quick && only.length === 0 && against === undefined);
  return { quick, rounds, only, against, plots, write, json, install: !values['no-install'] };
}
