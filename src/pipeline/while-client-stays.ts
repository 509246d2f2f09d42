import type { Exchange } from './exchange.ts';

/** Does something for a client, and ends it when the client leaves; gives null then. */
export async function whileClientStays<T>(
  { res }: Exchange,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T | null> {
  if (res.destroyed) return null;
  const leaving = new AbortController();
  const leave = () => leaving.abort();
  res.once('close', leave);
  try {
    return await act(leaving.signal);
  } catch (error) {
    if (leaving.signal.aborted) return null;
    throw error;
  } finally {
    res.off('close', leave);
  }
}
