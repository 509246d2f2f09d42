import { OciError } from '../registry/error.ts';
import type { RequestUpstream } from '../upstream/request.ts';

/** Whether the registry answers. */
export type UpstreamState =
  /** `ms`: how long the answer took, in milliseconds. */
  | { readonly kind: 'up'; readonly status: number; readonly ms: number }
  /** How long it has not answered, in milliseconds since the first failed probe. */
  | { readonly kind: 'down'; readonly reason: string; readonly forMs: number };

/** Probes the registry; simultaneous calls share a probe. Never rejects. */
export type UpstreamProbe = { check(): Promise<UpstreamState> };

/** How long the registry may take, in milliseconds. */
const timeoutMs = 5000;
/** An answer to the version check is empty; of a longer one only the head is needed. */
const maxBytes = 64 * 1024;

/** @param options authorization: upstream's own, null for none; now: a monotonic clock, in milliseconds */
export function createUpstreamProbe(options: {
  requestUpstream: RequestUpstream;
  authorization: string | null;
  now: () => number;
}): UpstreamProbe {
  const { requestUpstream, authorization, now } = options;
  const headers = {
    'User-Agent': 'tidegate',
    ...(authorization === null ? {} : { Authorization: authorization }),
  };
  let downSinceMs: number | null = null;
  let underWay: Promise<UpstreamState> | undefined;

  /** Any answer but a 5xx shows that it works: 401 if it has passwords, 404 if it knows only /v1/. */
  const look = async (): Promise<UpstreamState> => {
    const startedAtMs = now();
    const signal = AbortSignal.timeout(timeoutMs);
    let reason: string;
    try {
      const answer = await requestUpstream(
        { method: 'GET', rawTarget: '/v2/', headers },
        { maxBytes, signal },
      );
      const status = answer?.status ?? 200;
      if (status < 500) {
        downSinceMs = null;
        return { kind: 'up', status, ms: now() - startedAtMs };
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

/** The reason for operators, which clients do not get. */
function describe(error: unknown): string {
  if (error instanceof OciError && error.cause instanceof Error) return error.cause.message;
  return error instanceof Error ? error.message : String(error);
}
