import { parsePattern, sampleOf, type PatternTree } from './pattern-tree.ts';

/** Goes on behind what was matched. */
type Next = (at: number) => boolean;

/** Counts what a backtracking matcher does, as the engine of V8 is one, until it has found or tried everything; at most `maxSteps`. */
export function countSteps(pattern: RegExp, tree: PatternTree, text: string, maxSteps: number): number {
  const isMultiline = pattern.flags.includes('m');
  let steps = 0;
  class TooMany extends Error {}
  const isWord = (at: number) => /\w/.test(text.charAt(at));
  const isLineEnd = (character: string) => /[\n\r\u2028\u2029]/.test(character);

  const match = (node: PatternTree, at: number, next: Next): boolean => {
    steps += 1;
    if (steps > maxSteps) throw new TooMany();
    switch (node.kind) {
      case 'character':
        return at < text.length && node.accepts(text.charAt(at)) && next(at + 1);
      case 'sequence':
        return inOrder(node.parts, 0, at, next);
      case 'choice':
        return node.options.some((option) => match(option, at, next));
      case 'repeat':
        return node.body.kind === 'character'
          ? repeatCharacter(node, node.body.accepts, at, next)
          : repeat(node, 0, at, next);
      case 'look': {
        const found = node.isBehind ? looksBehind(node.body, at) : match(node.body, at, () => true);
        return found !== node.isNegative && next(at);
      }
      case 'assertion':
        return holds(node.name, at) && next(at);
    }
  };
  const inOrder = (parts: readonly PatternTree[], index: number, at: number, next: Next): boolean => {
    const part = parts[index];
    return part === undefined ? next(at) : match(part, at, (end) => inOrder(parts, index + 1, end, next));
  };
  const repeat = (node: PatternTree & { kind: 'repeat' }, times: number, at: number, next: Next): boolean => {
    const more = () =>
      times < node.max &&
      match(node.body, at, (end) => (end > at || times < node.min) && repeat(node, times + 1, end, next));
    if (times < node.min) return more();
    return node.isLazy ? next(at) || more() : more() || next(at);
  };
  /** The same for one character, without a call in a call for each. */
  const repeatCharacter = (
    { min, max, isLazy }: PatternTree & { kind: 'repeat' },
    accepts: (character: string) => boolean,
    at: number,
    next: Next,
  ): boolean => {
    const accepted = (times: number) => {
      steps += 1;
      return times < max && at + times < text.length && accepts(text.charAt(at + times));
    };
    let times = 0;
    while (times < (isLazy ? min : Infinity) && accepted(times)) times += 1;
    for (; times >= min; times += isLazy ? 1 : -1) {
      steps += 1;
      if (steps > maxSteps) throw new TooMany();
      if (next(at + times)) return true;
      if (isLazy && !accepted(times)) return false;
    }
    return false;
  };
  const looksBehind = (body: PatternTree, at: number): boolean => {
    for (let start = at; start >= 0; start -= 1) if (match(body, start, (end) => end === at)) return true;
    return false;
  };
  const holds = (name: '^' | '$' | '\\b' | '\\B', at: number): boolean => {
    switch (name) {
      case '^':
        return at === 0 || (isMultiline && isLineEnd(text.charAt(at - 1)));
      case '$':
        return at === text.length || (isMultiline && isLineEnd(text.charAt(at)));
      case '\\b':
        return isWord(at - 1) !== isWord(at);
      case '\\B':
        return isWord(at - 1) === isWord(at);
    }
  };

  const lastStart = !isMultiline && isAnchored(tree) ? 0 : text.length;
  // A sticky pattern goes on where it ended, as a global one does, and nowhere else.
  const isSticky = pattern.flags.includes('y');
  const isGlobal = isSticky || pattern.flags.includes('g');
  try {
    for (let start = 0; start <= lastStart; start += 1) {
      let end = start;
      const found = match(tree, start, (at) => {
        end = at;
        return true;
      });
      if (found ? !isGlobal : isSticky) break;
      if (end > start) start = end - 1; // the search goes on behind what was found
    }
  } catch (error) {
    if (!(error instanceof TooMany)) throw error;
  }
  return steps;
}

/** Whether it can only match at the beginning, where nothing else is tried then. */
function isAnchored(tree: PatternTree): boolean {
  switch (tree.kind) {
    case 'assertion':
      return tree.name === '^';
    case 'sequence':
      return tree.parts[0] !== undefined && isAnchored(tree.parts[0]);
    case 'choice':
      return tree.options.every(isAnchored);
    case 'character':
    case 'repeat':
    case 'look':
      return false;
  }
}

/** How the work of a pattern grows: the worst text that was found, and by what the steps grow when it gets twice as long. */
export type Growth = { readonly ratio: number; readonly text: string; readonly tried: number };

/** Lengths in characters: a look, and a closer one at those that were suspicious. Beyond all bounds of repeats that matter. */
const lengths = { look: 64, closer: 300 };
const suspicious = 2.15;
const maxSteps = 1_500_000;
/** Behind the pumped part: what most patterns do not go on with. */
const endings = ['', '\0', '\n', 'x', '/'];

/** Looks for the text on which a pattern's work grows fastest: what each of its repeats repeats, again and again, and then something wrong. */
export function findWorstGrowth(pattern: RegExp): Growth {
  const tree = parsePattern(pattern);
  let worst: Growth = { ratio: 0, text: '', tried: 0 };
  let tried = 0;
  for (const { before, pumps } of findRepeats(tree)) {
    for (const pump of pumps) {
      for (const ending of endings) {
        const make = (size: number) => before + pump.repeat(Math.ceil(size / pump.length)) + ending;
        const count = (size: number) => countSteps(pattern, tree, make(size), maxSteps);
        const grow = (size: number) => {
          const steps = count(2 * size);
          return steps >= maxSteps ? Infinity : steps / count(size);
        };
        tried += 1;
        let ratio = grow(lengths.look);
        if (ratio > suspicious && ratio > worst.ratio) ratio = grow(lengths.closer);
        if (ratio > worst.ratio) worst = { ratio, text: make(3), tried };
      }
    }
  }
  return { ...worst, tried };
}

type Repeat = { readonly before: string; readonly pumps: readonly string[] };

/** Every repeat without a small bound, with a text that leads to it, and texts that may be repeated there. */
function findRepeats(tree: PatternTree): Repeat[] {
  const found: Repeat[] = [];
  const add = (node: PatternTree, before: string): void => {
    switch (node.kind) {
      case 'repeat':
        if (node.max > 8) {
          const bodies = new Set([sampleOf(node.body), ...singles(node.body)]);
          const behind = before.slice(-3);
          const pumps = new Set([
            ...bodies,
            ...[...bodies].flatMap((body) => [behind + body, body + behind]),
          ]);
          pumps.delete('');
          found.push({ before, pumps: [...pumps] });
          // In the middle of a text, where what is anchored at its beginning does not apply.
          found.push({ before: 'x\0', pumps: [...pumps] });
          if (before !== '') found.push({ before: '', pumps: [before, before + sampleOf(node.body)] });
        }
        add(node.body, before);
        return;
      case 'sequence': {
        let lead = before;
        for (const part of node.parts) {
          add(part, lead);
          lead += sampleOf(part);
        }
        return;
      }
      case 'choice':
        for (const option of node.options) add(option, before);
        return;
      case 'look':
        add(node.body, before);
        return;
      case 'character':
      case 'assertion':
    }
  };
  add(tree, '');
  return found;
}

/** Single characters that the classes within accept, a few of each. */
function singles(node: PatternTree): string[] {
  switch (node.kind) {
    case 'character':
      return node.samples.slice(0, 4).split('');
    case 'sequence':
      return node.parts.flatMap(singles);
    case 'choice':
      return node.options.flatMap(singles);
    case 'repeat':
    case 'look':
      return singles(node.body);
    case 'assertion':
      return [];
  }
}
