/** The running lookup of a key, and the next one if somebody waits for it. */
type Line<T> = { readonly running: Promise<T>; next: Promise<T> | null };

/**
 * Shares the lookups of each key among all who ask at the same time. A lookup that began before a request is never
 * joined: its answer could be older than a write that has ended since. Who comes during a lookup shares the next one,
 * which begins when that one has ended.
 */
export function createSharedLookups<T>(): (key: string, lookUp: () => Promise<T>) => Promise<T> {
  const lines = new Map<string, Line<T>>();

  const begin = (key: string, lookUp: () => Promise<T>): Promise<T> => {
    const running = lookUp();
    const line: Line<T> = { running, next: null };
    lines.set(key, line);
    const end = () => {
      if (lines.get(key) === line && line.next === null) lines.delete(key);
    };
    void running.then(end, end);
    return running;
  };

  return (key, lookUp) => {
    const line = lines.get(key);
    if (line === undefined) return begin(key, lookUp);
    const start = () => begin(key, lookUp);
    line.next ??= line.running.then(start, start);
    return line.next;
  };
}
