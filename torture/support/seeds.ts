import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../../test/support/processes.ts';

/** An input that broke something once. */
export type Seed = {
  /** The name of its fuzz target. */
  readonly target: string;
  readonly input: string;
  /** What it broke, in a sentence. */
  readonly broke: string;
};

const folder = path.join(root, 'torture/seeds');

/** Reads torture/seeds/: JSON files with a list each. */
export function loadSeeds(): Seed[] {
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'));
  return files.flatMap((file) => JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as Seed[]);
}
