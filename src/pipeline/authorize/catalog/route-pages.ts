import type { Logger } from 'pino';
import { catalogPath, parseCatalogPage, type CatalogPage } from '../../../registry/lists/catalog.ts';
import { createTimeLimit } from '../../../system/time-limit.ts';
import type { InternalRequest } from '../../../upstream/request.ts';
import type { ListedRegistry } from '../../routes/listed-registries.ts';
import { usualSize, type Refused } from './catalog.ts';
import { paused, tooLong, type Fault, type Unlisted } from './merged-catalog.ts';

/** Fetches pages of the lists of routes' registries; one that fails is left out for a while. */
export type RoutePages = {
  /** Fetches pages for one answer, bounded in time per registry. @param headers what upstream would get */
  open(headers: InternalRequest['headers'], signal: AbortSignal): FetchRoutePage;
  /** Logs what is missing in an answer, at most once in a while; leaves registries that failed out for a while. */
  note(unlisted: readonly Unlisted[]): void;
};

export type FetchRoutePage = (
  registry: ListedRegistry,
  query: string,
) => Promise<CatalogPage | Refused | Fault>;

export type RoutePagesOptions = {
  /** How long one answer waits for one registry. */
  readonly timeoutMs: number;
  /** How long a registry is left out after it failed once. */
  readonly pauseMs: number;
  readonly maxPageBytes: number;
  readonly logger: Logger;
  /** A clock that only goes forward, in milliseconds. */
  readonly now: () => number;
};

/** Registries that ignore the requested number send all their names. */
const maxNames = 10 * usualSize;
/** The pause grows with each failure in a row, up to this multiple. */
const maxPauses = 12;
const logEveryMs = 10 * 60_000;
/** Fields that only upstream may get: credentials for it, and what it set. */
const ofUpstream = /^(?:authorization|cookie)$/i;

export function createRoutePages(options: RoutePagesOptions): RoutePages {
  const { timeoutMs, pauseMs, maxPageBytes, logger, now } = options;
  const failures = new Map<string | null, { count: number; pausedUntilMs: number }>();
  const quietUntilMs = new Map<string | null, number>();

  return {
    open: (headers, signal) => {
      const spentMs = new Map<ListedRegistry, number>();
      const shared = Object.entries(headers).filter(([name]) => !ofUpstream.test(name));
      return async (registry, query) => {
        const { route, authorization } = registry;
        const beganMs = now();
        if (beganMs < (failures.get(route)?.pausedUntilMs ?? -Infinity)) return { fault: paused };
        const leftMs = timeoutMs - (spentMs.get(registry) ?? 0);
        if (leftMs <= 0) return { fault: tooSlow(timeoutMs) };
        const timeLimit = createTimeLimit(signal, leftMs);
        try {
          const answer = await registry.requestUpstream(
            {
              method: 'GET',
              rawTarget: `${catalogPath}?${query}`,
              headers: {
                ...Object.fromEntries(shared),
                ...(authorization === null ? {} : { Authorization: authorization }),
              },
            },
            { maxBytes: maxPageBytes, signal: timeLimit.signal },
          );
          if (answer === null) return { fault: `its list has more than ${maxPageBytes} bytes` };
          if (answer.status >= 400) return { refused: answer };
          if (answer.status !== 200) return { fault: `it answered ${answer.status}` };
          const page = parseCatalogPage(answer.rawHeaders, answer.body);
          if (page.names.length > maxNames)
            return { fault: `its list has more than ${maxNames} names in one part` };
          if (page.next === null) failures.delete(route);
          return page;
        } catch (error) {
          if (signal.aborted) throw error;
          if (timeLimit.signal.aborted) return { fault: tooSlow(timeoutMs) };
          return { fault: describe(error) };
        } finally {
          timeLimit.end();
          spentMs.set(registry, (spentMs.get(registry) ?? 0) + now() - beganMs);
        }
      };
    },
    note: (unlisted) => {
      for (const { registry, fault } of unlisted) {
        if (fault === paused) continue;
        const { route } = registry;
        const nowMs = now();
        if (fault !== tooLong) {
          const count = Math.min((failures.get(route)?.count ?? 0) + 1, maxPauses);
          failures.set(route, { count, pausedUntilMs: nowMs + count * pauseMs });
        }
        if (nowMs < (quietUntilMs.get(route) ?? -Infinity)) continue;
        quietUntilMs.set(route, nowMs + logEveryMs);
        const whose = route === null ? 'upstream' : `the route ${route}`;
        logger.warn(
          { upstream: route, reason: fault },
          `lists of repositories lack some of ${whose}: ${fault}`,
        );
      }
    },
  };
}

function tooSlow(timeoutMs: number): string {
  return `it did not answer within limits.routeListTimeout (${timeoutMs} ms)`;
}

function describe(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? `${message} (${cause.message})` : message;
}
