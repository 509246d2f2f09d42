import type { Answer } from './entry.ts';

/** A smaller answer is not looked for, in bytes: to hold it twice costs less. */
const smallBytes = 16 * 1024;
const hashBytes = 32;

/**
 * Makes equal stored answers one, for as long as somebody holds it. A store behind a network gives other bytes each time, and each of
 * them would be held until its client has read it.
 */
export function createSharedAnswers(): (stored: Buffer, answer: Answer) => Answer {
  const known = new Map<string, WeakRef<Answer>>();
  const registry = new FinalizationRegistry<string>((key) => {
    if (known.get(key)?.deref() === undefined) known.delete(key);
  });
  return (stored, answer) => {
    if (answer.body.length <= smallBytes) return answer;
    // It begins with the hash of everything else in it, which decodeEntry has found right.
    const key = stored.toString('latin1', 0, hashBytes);
    const same = known.get(key)?.deref();
    if (same) return same;
    known.set(key, new WeakRef(answer));
    registry.register(answer, key);
    return answer;
  };
}
