import { OciError } from '../registry/error.ts';
import type { Ask } from '../upstream/request.ts';

/** Whether the registry answers. */
export type UpstreamState =
  | { readonly kind: 'up'; readonly status: number }
  /** For how long it has not answered, in milliseconds since the first question that failed. */
  | { readonly kind: 'down'; readonly reason: string; readonly forMs: number };

/** Asks the registry whether it answers; for all who want to know at a time once. Never rejects. */
export type UpstreamProbe = { check(): Promise<UpstreamState> };

/** How long the registry may take, in milliseconds. */
const timeoutMs = 5000;
/** An answer to the version check is empty; of a longer one only the head is wanted. */
const maxBytes = 64 * 1024;

/** @param options authorization: upstream's own, null for none; now: a clock that only goes forward, in milliseconds */
export function createUpstreamProbe(options: {
  ask: Ask;
  authorization: string | null;
  now: () => number;
}): UpstreamProbe {
  const { ask, authorization, now } = options;
  const headers = {
    'User-Agent': 'tidegate',
    ...(authorization === null ? {} : { Authorization: authorization }),
  };
  let downSinceMs: number | null = null;
  let underWay: Promise<UpstreamState> | undefined;

  /** Any answer but a failure of its own shows that it is there: 401 where it has passwords, 404 where it knows only /v1/. */
  const look = async (): Promise<UpstreamState> => {
    const startedAtMs = now();
    const signal = AbortSignal.timeout(timeoutMs);
    let reason: string;
    try {
      const answer = await ask({ method: 'GET', rawTarget: '/v2/', headers }, { maxBytes, signal });
      const status = answer?.status ?? 200;
      if (status < 500) {
        downSinceMs = null;
        return { kind: 'up', status };
      }
      reason = `it answered ${status}`;
    } catch (error) {
      reason = signal.aborted ? `no answer within ${timeoutMs / 1000} seconds` : describe(error);
    }
    downSinceMs ??= startedAtMs;
    return { kind: 'down', reason, forMs: now() - downSinceMs };
  };

  return { check: () => (underWay ??= look().finally(() => (underWay = undefined))) };
}

/** For operators: what the client of a request would not be told. */
function describe(error: unknown): string {
  if (error instanceof OciError && error.cause instanceof Error) return error.cause.message;
  return error instanceof Error ? error.message : String(error);
}
