import type { CacheStore } from '../../cache/stores/store.ts';
import type { RepositoryActivity } from '../../locks/repository-activity.ts';
import type { RepositoryLocks } from '../../locks/repository-locks.ts';
import { OciError } from '../../registry/error.ts';
import { parseOperation } from '../../registry/operation.ts';
import { parseTarget } from '../../registry/target.ts';
import type { BlobStorage } from '../../storage/blob-storage.ts';
import type { Forwarder, ForwardRequest, Transfer, UpstreamError } from '../../upstream/forward.ts';
import type { RequestUpstream } from '../../upstream/request.ts';
import { announcesBody } from '../framing.ts';
import type { Bulkhead, Passage } from './bulkhead.ts';
import type { InnerNames } from './inner-names.ts';
import { silentSource } from './mirror-source.ts';
import { describeErrorAnswer, replaceName, type DescribedRegistry } from './route-error.ts';

/**
 * Where names change: everything before it in the pipeline knows the outer names, the registry of the route and what is
 * shared with other instances know the inner ones.
 */
export type RoutedParts = DescribedRegistry & {
  readonly names: InnerNames;
  readonly bulkhead: Bulkhead;
  /** The registry's URL: it tells its repositories from those of other registries. */
  readonly url: string;
  /** How long it may take, in milliseconds, if it is a mirror: it may be waiting for its source. */
  readonly sourceTimeoutMs: number;
};

/** What a registry is reached by, and what of its repositories is shared: all by outer names. */
export type RegistryPorts = {
  readonly requestUpstream: RequestUpstream;
  readonly forwarder: Forwarder;
  /** The registry's files; null: it has none here. */
  readonly blobs: BlobStorage | null;
  /** Null: nothing is cached. */
  readonly store: CacheStore | null;
  readonly locks: RepositoryLocks;
  readonly deletes: {
    readonly activity: Pick<RepositoryActivity, 'enter' | 'wait'>;
    readonly locks: RepositoryLocks;
  };
};

/** Gives the ports of a route's registry, which take outer names, from those that take inner ones. */
export function routePorts(ports: RegistryPorts, routed: RoutedParts): RegistryPorts {
  const { requestUpstream, forwarder, blobs, store, locks, deletes } = ports;
  return {
    requestUpstream: routeRequests(requestUpstream, routed),
    forwarder: routeForwarder(forwarder, routed),
    blobs: blobs && routeBlobs(blobs, routed),
    store: store && routeStore(store, routed),
    locks: routeLocks(locks, routed),
    deletes: {
      activity: routeActivity(deletes.activity, routed),
      locks: routeLocks(deletes.locks, routed),
    },
  };
}

/** Sends requests by their inner names, through the bulkhead. */
function routeRequests(
  requestUpstream: RequestUpstream,
  { names, bulkhead, description }: RoutedParts,
): RequestUpstream {
  return async (asked, limits) => {
    const rawTarget = names.target(asked.rawTarget);
    const passage = bulkhead.enter();
    try {
      const answer = await requestUpstream({ ...asked, rawTarget }, limits);
      passage.answered();
      return answer;
    } catch (error) {
      throw limits.signal.aborted ? error : noteFailure(error, passage, description);
    } finally {
      passage.leave();
    }
  };
}

/** The same for what is forwarded. */
function routeForwarder(forwarder: Forwarder, parts: RoutedParts): Forwarder {
  const { names, bulkhead, description, isMirror, sourceTimeoutMs } = parts;
  const describe = describeRouteErrors(parts);
  const answerLimit = {
    timeoutMs: sourceTimeoutMs,
    error: () => silentSource(description, sourceTimeoutMs),
  };
  return {
    forward: (request) => {
      const rawTarget = names.target(request.rawTarget);
      const passage = bulkhead.enter({ sendsBody: announcesBody(request.req) });
      const routed: Partial<ForwardRequest> = {
        rawTarget,
        answerLimit: isMirror ? answerLimit : undefined,
        describeError: (answer) => describe(request.rawTarget, answer),
        onResponse: (status, rawHeaders) => {
          passage.answered();
          return request.onResponse(status, rawHeaders);
        },
      };
      const transfer = forwarder.forward(Object.assign({}, request, routed));
      const ended = transfer.ended
        .catch((error: unknown) => {
          throw noteFailure(error, passage, description);
        })
        .finally(() => passage.leave());
      return new RoutedTransfer(transfer, ended);
    },
  };
}

/** The transfer with another end. */
class RoutedTransfer implements Transfer {
  readonly #transfer: Transfer;
  readonly ended: Transfer['ended'];

  constructor(transfer: Transfer, ended: Transfer['ended']) {
    this.#transfer = transfer;
    this.ended = ended;
  }

  get bytesIn(): number {
    return this.#transfer.bytesIn;
  }

  get bytesOut(): number {
    return this.#transfer.bytesOut;
  }

  waitsForClient(): boolean {
    return this.#transfer.waitsForClient();
  }
}

/** Describes errors of the registry by outer names. */
export function describeRouteErrors(
  registry: RoutedParts,
): (outerTarget: string, answer: UpstreamError) => OciError {
  return (outerTarget, answer) => {
    const operation = parseOperation('', parseTarget(outerTarget), new Set());
    const outer = 'repository' in operation ? operation.repository : null;
    return describeErrorAnswer(answer, registry, (text) =>
      outer === null ? text : replaceName(text, registry.names.repository(outer), outer),
    );
  };
}

/** Keeps answers, writes and clears of this registry apart from those of others in a store. */
function routeStore(store: CacheStore, { names, url }: RoutedParts): CacheStore {
  const scopeOf = (scope: string) => `${url} v2:${names.repository(scope.slice('v2:'.length))}`;
  const within = <T extends { readonly scope: string }>(each: T): T => ({
    ...each,
    scope: scopeOf(each.scope),
  });
  return {
    ...store,
    lookup: (slot, maxBytes) => store.lookup(within(slot), maxBytes),
    fill: (slot, ...rest) => store.fill(within(slot), ...rest),
    beginWrite: (change) => store.beginWrite(within(change)),
    endWrite: (change) => store.endWrite(within(change)),
  };
}

/** The same for locks of repositories. */
function routeLocks(locks: RepositoryLocks, { names, url }: RoutedParts): RepositoryLocks {
  return { acquire: (repository, wish) => locks.acquire(`${url} ${names.repository(repository)}`, wish) };
}

/** The same for the requests in progress. */
function routeActivity(
  activity: Pick<RepositoryActivity, 'enter' | 'wait'>,
  { names, url }: RoutedParts,
): Pick<RepositoryActivity, 'enter' | 'wait'> {
  const own = (repositories: readonly string[]) =>
    repositories.map((repository) => `${url} ${names.repository(repository)}`);
  return {
    enter: (repositories) => activity.enter(own(repositories)),
    wait: (repositories, limits) => activity.wait(own(repositories), limits),
  };
}

/** Opens blobs by the inner names of their repositories. */
function routeBlobs(blobs: BlobStorage, { names }: RoutedParts): BlobStorage {
  return {
    open: (name) => blobs.open({ ...name, repository: names.repository(name.repository) }),
    findTag: (repository, tag) => blobs.findTag(names.repository(repository), tag),
  };
}

/** Counts that there was no answer, and says which registry it was. */
function noteFailure(error: unknown, passage: Passage, description: string): unknown {
  if (!(error instanceof OciError) || error.message.startsWith(description)) return error;
  if (error.code === 'GATEWAY_TIMEOUT') {
    passage.failed();
    return new OciError('GATEWAY_TIMEOUT', `${description} did not answer in time.`, {
      cause: new Error(error.message),
    });
  }
  if (error.code !== 'BAD_GATEWAY') return error;
  passage.failed();
  return new OciError('BAD_GATEWAY', `${description} did not answer.`, { cause: error.cause });
}
