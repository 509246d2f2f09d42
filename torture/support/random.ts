/** Chance that can be repeated: the same seed gives the same choices on every machine. */
export type Random = {
  /** A whole number from 0 to `below - 1`. */
  below(below: number): number;
  pick<T>(items: readonly T[]): T;
  /** True once in so many times. */
  onceIn(times: number): boolean;
  /** A generator of its own, for one case: it can be repeated without those before it. */
  fork(number: number): Random;
  readonly seed: number;
};

/** Marsaglia's xorshift with 32 bits, begun at a mixed seed so that neighbours do not look alike. */
export function createRandom(seed: number): Random {
  let state = mix(seed);
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const below = (limit: number) => next() % limit;
  return {
    below,
    pick: <T>(items: readonly T[]) => items[below(items.length)] as T,
    onceIn: (times) => below(times) === 0,
    fork: (number) => createRandom(mix(seed) ^ mix(number + 1)),
    seed,
  };
}

/** The finalizer of MurmurHash3: each bit of the input changes about half of the output's. Never 0, where xorshift would stay. */
function mix(seed: number): number {
  let hash = (seed ^ 0x9e3779b9) | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) | 0 || 1;
}
