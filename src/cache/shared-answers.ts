import type { Answer } from './entry.ts';

/** Smaller answers are not shared, in bytes: a second copy costs less. */
const smallBytes = 16 * 1024;
const hashBytes = 32;

/**
 * Replaces equal stored answers by one, for as long as any is in use. A store behind a network returns new bytes each
 * time, and each copy would be held until its client has read it.
 */
export function createSharedAnswers(): (stored: Buffer, answer: Answer) => Answer {
  const known = new Map<string, WeakRef<Answer>>();
  const registry = new FinalizationRegistry<string>((key) => {
    if (known.get(key)?.deref() === undefined) known.delete(key);
  });
  return (stored, answer) => {
    if (answer.body.length <= smallBytes) return answer;
    // It begins with the hash of the rest, which decodeEntry has verified.
    const key = stored.toString('latin1', 0, hashBytes);
    const same = known.get(key)?.deref();
    if (same) return same;
    known.set(key, new WeakRef(answer));
    registry.register(answer, key);
    return answer;
  };
}
