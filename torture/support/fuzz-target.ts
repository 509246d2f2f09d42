import assert from 'node:assert/strict';
import type { Rule } from './grammar.ts';
import { createRandom } from './random.ts';

/** A parser, and what must hold for every input. */
export type FuzzTarget = {
  readonly name: string;
  readonly inputs: Rule;
  /** Throws when something does not hold. */
  check(input: string): void;
  /** How many inputs a second it takes, roughly: by this the cases are dealt out, so that each has about as much time. */
  readonly perSecond: number;
};

/** An input that broke something, minimized. */
export type Broken = {
  readonly target: string;
  readonly seed: number;
  readonly input: string;
  readonly error: string;
};

/** Tries inputs `from` to `to - 1` of a seed; each can be repeated by itself. Gives the first that breaks something, or null. */
export function fuzz(target: FuzzTarget, seed: number, from: number, to: number): Broken | null {
  const random = createRandom(seed);
  for (let number = from; number < to; number += 1) {
    const input = target.inputs(random.fork(number));
    const error = attempt(target, input);
    if (error === null) continue;
    const smallest = shrink(target, input);
    return { target: target.name, seed, input: smallest, error: attempt(target, smallest) ?? error };
  }
  return null;
}

/** Describes what an input breaks; null: nothing. */
export function attempt(target: FuzzTarget, input: string): string | null {
  try {
    target.check(input);
    assert.equal(Object.keys(Object.prototype).length, 0, 'every object has got a property');
    return null;
  } catch (error) {
    return String(error instanceof Error ? error.stack : error);
  }
}

/** Minimizes an input: removes what is not needed to break it, in ever smaller pieces. */
function shrink(target: FuzzTarget, input: string): string {
  let smallest = input;
  for (let size = Math.ceil(input.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < smallest.length;) {
      const shorter = smallest.slice(0, at) + smallest.slice(at + size);
      if (attempt(target, shorter) === null) at += size;
      else smallest = shorter;
    }
  }
  return smallest;
}
