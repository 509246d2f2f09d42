import { parseArgs } from 'node:util';

/**
 * @param {string[]} args
 * @param {string[]} scenarioNames
 * @returns {{ help: string } | Arguments} throws an Error whose message is for the reader
 *
 * @typedef {{ quick: boolean, rounds: number, only: string[], plots: boolean, write: boolean, json: string | undefined, install: boolean }} Arguments
 */
export function parseArguments(args, scenarioNames) {
  const usage = `Usage: npm run bench [-- FLAGS]
  --quick        smaller bodies, shorter measurements, 1 or 2 rounds instead of 5, no growth, no clean-…: under 3 minutes in all
  --only A,B     only these: ${scenarioNames.join(', ')}
  --rounds N     how often each is measured
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
        ...{ only: text, rounds: text, json: text },
      },
    }));
  } catch (error) {
    throw new Error(`${error.message}\n${usage}`);
  }
  if (values.help) return { help: usage };
  const only = values.only?.split(',') ?? [];
  const unknown = only.filter((name) => !scenarioNames.includes(name));
  if (unknown.length > 0) throw new Error(`There is no scenario ${unknown.join(', ')}.\n${usage}`);
  const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds wants a whole number.\n${usage}`);
  const { quick, plots, json } = values;
  const write = values.write || (!quick && only.length === 0);
  return { quick, rounds, only, plots, write, json, install: !values['no-install'] };
}
