import type { Random } from './random.ts';

/** Generates almost valid texts: a grammar's, with occasional deviations. */
export type Rule = (random: Random) => string;

/** Chooses one of these. */
export const oneOf =
  (...rules: readonly (Rule | string)[]): Rule =>
  (random) =>
    make(random.pick(rules), random);

/** A sequence of these. */
export const inOrder =
  (...rules: readonly (Rule | string)[]): Rule =>
  (random) => {
    let text = '';
    for (const rule of rules) text += make(rule, random);
    return text;
  };

/** Repeats it, with a separator. */
export const repeated =
  (rule: Rule | string, min: number, max: number, between: Rule | string = ''): Rule =>
  (random) => {
    let text = '';
    const times = min + random.below(max - min + 1);
    for (let i = 0; i < times; i += 1) text += (i === 0 ? '' : make(between, random)) + make(rule, random);
    return text;
  };

/** Usually the first; once in so many times the other. */
export const usually =
  (rule: Rule | string, times: number, other: Rule | string): Rule =>
  (random) =>
    make(random.onceIn(times) ? other : rule, random);

/** Characters out of a text. */
export const characters = (alphabet: string, min: number, max: number): Rule =>
  repeated((random) => alphabet.charAt(random.below(alphabet.length)), min, max);

/** Any byte, as a Latin-1 character. */
export const anyByte: Rule = (random) => String.fromCharCode(random.below(256));

/** One byte, percent-encoded, in either case. */
export const encodedByte: Rule = (random) => {
  const digits = random.below(256).toString(16).padStart(2, '0');
  return `%${random.onceIn(2) ? digits : digits.toUpperCase()}`;
};

/** Any character of Unicode, half a surrogate pair too. */
export const anyCharacter: Rule = (random) =>
  random.onceIn(4)
    ? String.fromCodePoint(random.below(0x110000))
    : String.fromCharCode(random.below(random.pick([0x80, 0x100, 0x10000])));

/** Mutates a text: deletes, doubles, inserts or replaces parts, up to so many times. */
export const damaged =
  (rule: Rule, maxTimes: number, piece: Rule = anyByte): Rule =>
  (random) => {
    let text = rule(random);
    for (let times = random.below(maxTimes + 1); times > 0; times -= 1) {
      const at = random.below(text.length + 1);
      const length = 1 + random.below(Math.min(8, text.length + 1));
      const [before, part, after] = [text.slice(0, at), text.slice(at, at + length), text.slice(at + length)];
      text = random.pick([
        () => before + after,
        () => before + part + part + after,
        () => before + piece(random) + part + after,
        () => before + piece(random) + after,
        () => before + part.toUpperCase() + after,
      ])();
    }
    return text;
  };

function make(rule: Rule | string, random: Random): string {
  return typeof rule === 'string' ? rule : rule(random);
}
