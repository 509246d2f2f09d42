import type { Exchange } from './exchange.ts';

/** Acts for a client, and aborts when the client leaves; returns null then. */
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
