import { setDefaultHighWaterMark } from 'node:stream';
import type { Logger } from 'pino';
import { createIssuerKeysPool } from '../auth/oidc/issuer-keys-pool.ts';
import type { LoginNotice } from '../auth/throttle/login-throttle.ts';
import type { V1TokenNotice } from '../auth/tokens/v1-tokens.ts';
import { createCacheCounters } from '../cache/answer-cache.ts';
import { openCacheStore } from '../cache/stores/open-store.ts';
import { createStatsReader } from '../cache/stores/stats-reader.ts';
import type { WriteNotice } from '../cache/stores/shared-memory-store.ts';
import type { Config } from '../config/schema/schema.ts';
import { watchDescriptors } from '../system/descriptor-watch.ts';
import { createMetrics, type ProcessReport } from '../telemetry/metrics/metrics.ts';
import type { ChallengeAnswers } from '../acme/challenges.ts';
import type { RepositoryLists } from '../inventory/repository-lists.ts';
import { openListener, type ListenerLimits } from '../listener/listener.ts';
import { openPlainListener, type PlainListener } from '../listener/plain-listener.ts';
import type { RedirectPlace } from '../listener/redirect-target.ts';
import type { WaitingRequests } from '../telemetry/metrics/waiting-requests.ts';
import { createWorkerIpcFan } from './worker-ipc-fan.ts';
import { openLoginThrottle } from './identity/open-login-throttle.ts';
import { createCleanWorker, type PerformCleanTask } from './clean-worker.ts';
import { openOwnDeletes, type Deletes } from './registry/open-deletes.ts';
import type { TagRemovalOutcome } from './registry/open-tag-delete.ts';
import { openRepositoryLocks } from './registry/open-repository-locks.ts';
import type { WorkerIpc } from '../system/worker-ipc.ts';
import { createSharedRedis } from '../redis/open.ts';
import type { UsageSink } from '../usage/usage-buffer.ts';
import { createUsageNotes } from '../usage/usage-notes.ts';
import type { PreparedState, PrepareOptions, ServedState } from './served-state.ts';
import { createSessionSecret } from './identity/session-secret.ts';
import type { RepositoryLocks } from '../locks/repository-locks.ts';
import { createWritePause } from '../locks/write-pause.ts';
import type { ListenerTls } from '../listener/tls-context.ts';
import { changesAnswers, openService, servesAlike, type Service } from './service.ts';
import { personalTokensPath } from '../auth/machine-tokens/personal-tokens.ts';
import { meansSameUsers, openUsers } from './identity/users.ts';

/** Where it listens; `httpPort` null: not for plain HTTP. */
export type ListenAddress = {
  readonly host: string;
  readonly port: number;
  readonly httpPort: number | null;
};

/** A running Tidegate. */
export type App = {
  readonly address: ListenAddress;
  /** The counts since the start, and the current values. */
  report(): Promise<ProcessReport>;
  /** The requests in progress. */
  waiting(): WaitingRequests;
  /**
   * Prepares another state; one at a time. Keys that need a restart must be unchanged.
   * @throws OperatorError when the state cannot be used; nothing has changed then.
   */
  prepare(state: ServedState, options: PrepareOptions): Promise<PreparedState>;
  /** Removes a tag at `upstream` and no twin of it, on behalf of the clean-up. Never rejects. */
  removeTag(repository: string, tag: string): Promise<TagRemovalOutcome>;
  /** Answers the checks of a CA. */
  answerChallenges(answers: ChallengeAnswers): void;
  readonly performCleanTask: PerformCleanTask;
  readonly deletes: Pick<Deletes, 'locks' | 'peers'>;
  /** Stops accepting, lets requests in progress finish for `graceMs` milliseconds (0: cuts them), and frees everything. */
  close(options: { graceMs: number }): Promise<void>;
};

/** How much a stream buffers before it stops its source, in bytes: large bodies have larger buffers of their own. */
const streamBufferBytes = 16 * 1024;

/** Registers what must be freed at the end. */
type OnFree = (free: () => void | Promise<void>) => void;

export type AppOptions = ServedState & {
  readonly logger: Logger;
  /** The other workers; left out: none. */
  readonly ipc?: {
    readonly writes: WorkerIpc<WriteNotice>;
    readonly tokens: WorkerIpc<V1TokenNotice>;
    readonly logins: WorkerIpc<LoginNotice>;
  };
  /** The key under which workers share right passwords; left out: a new one. */
  readonly loginKey?: Buffer;
  /** The secret of what is sealed for clients if the configuration names none; left out: a new one. */
  readonly sessionSecret?: Buffer;
  /** The locks of writes to a repository, shared by the workers; left out: of this process only. */
  readonly locks?: RepositoryLocks;
  /** The isolation of deletes, shared by the workers; left out: of this process only. */
  readonly deletes?: Deletes;
  /** Takes what is pulled and pushed; left out or null: nobody does. */
  readonly usage?: UsageSink | null;
  /** The lists of repositories and tags; left out or null: there are none. */
  readonly lists?: RepositoryLists | null;
};

/**
 * Creates Tidegate from its configuration and opens it.
 * @throws OperatorError when a file or the address is not usable.
 */
export async function createApp(options: AppOptions): Promise<App> {
  setDefaultHighWaterMark(false, streamBufferBytes);
  /**
   * What is open. It is freed in reverse order, also when the start fails: an open connection to Redis would keep the
   * process alive.
   */
  const frees: (() => void | Promise<void>)[] = [];
  const free = async () => {
    for (const each of frees.toReversed()) await each();
  };
  try {
    return await openApp(options, (each) => frees.push(each), free);
  } catch (error) {
    await free();
    throw error;
  }
}

async function openApp(options: AppOptions, onFree: OnFree, free: () => Promise<void>): Promise<App> {
  const { config, pem, logger } = options;
  const { shared, usersOptions } = await openShared(options, onFree);
  const { store, counters, metrics } = shared;
  const users = await openUsers(config.auth, usersOptions);
  let certificateEndMs = pem.notAfterMs;
  let current = await openService({ config, pem }, users, shared, null);
  onFree(() => current.free());
  shared.writePause.onResume(() => store?.clear(current.state.config.cache.tagTtl));
  const plain = await openPlain({ config, pem }, () => current);
  onFree(() => plain?.close());
  const listener = await openListener({
    host: config.listen.host,
    port: config.listen.port,
    tls: readTls({ config, pem }),
    limits: readLimits(config),
    proxyProtocol: config.listen.proxyProtocol === 'on',
    addresses: current.addresses,
    pipeline: current.pipeline,
    metrics,
    logger,
  });
  const { port } = listener.address;
  plain?.usePlace(readPlace({ config, pem }, port));
  const use = (next: Service) => {
    const last = current;
    current = next;
    last.retire();
    if (changesAnswers(last.state, next.state)) store?.clear(next.state.config.cache.tagTtl);
    listener.useAddresses(next.addresses);
    listener.usePipeline(next.pipeline, () => void last.free());
  };
  const prepare: App['prepare'] = async (state, { rereads }) => {
    const { users: present, state: before } = current;
    const keeps = meansSameUsers(state.config.auth, before.config.auth);
    const reread = keeps && rereads ? await present.reread() : null;
    const open = async () => {
      const nextUsers = keeps ? present.share() : await openUsers(state.config.auth, usersOptions);
      return openService(state, nextUsers, shared, current.inUse);
    };
    listener.checkTls(readTls(state));
    const next = servesAlike(state, before) ? null : await open();
    return {
      changed: reread?.changed ?? [],
      commit: () => {
        reread?.use();
        listener.useTls(readTls(state));
        plain?.usePlace(readPlace(state, port));
        certificateEndMs = state.pem.notAfterMs;
        listener.useLimits(readLimits(state.config));
        if (next) use(next);
      },
      abandon: async () => next?.free(),
    };
  };
  const isShared = config.cache.driver === 'redis';
  const readStats = store && createStatsReader(store, { isRemote: isShared, now: () => performance.now() });
  const reportCache = async () =>
    store && { isUsable: store.isUsable(), isShared, counters, stats: (await readStats?.()) ?? null };
  return {
    address: { ...listener.address, httpPort: plain?.port ?? null },
    answerChallenges: ({ tls, http }) => {
      listener.useChallenges(tls);
      plain?.useChallenges(http);
    },
    performCleanTask: createCleanWorker(shared, () => current),
    deletes: shared.deletes,
    report: async () =>
      metrics.report({
        connections: listener.connections(),
        underWay: listener.underWay(),
        passwords: current.users.pool.load(),
        certificateEndMs,
        cache: await reportCache(),
        routes: current.state.config.routes.map(({ name }) => name),
      }),
    waiting: () => listener.waiting(),
    removeTag: (repository, tag) => current.removeTag({ repository, tag, digest: null }),
    prepare,
    close: async ({ graceMs }) => {
      logger.info({ activeRequests: listener.underWay().length, graceMs }, 'shutting down');
      plain?.close();
      await listener.close(graceMs);
      if (store) logger.info({ ...counters }, 'cache counters');
      await free();
    },
  };
}

/** Opens what outlives a reload. */
async function openShared(options: AppOptions, onFree: OnFree) {
  const { config, pem, logger, ipc } = options;
  const metrics = createMetrics();
  onFree(() => metrics.close());
  const descriptors = watchDescriptors(logger);
  onFree(() => descriptors.close());
  const redis = createSharedRedis(config.cache.redis, pem.redisCa);
  onFree(() => redis.close());
  const store = await openCacheStore(config, redis, logger, ipc?.writes);
  onFree(() => store?.close());
  const throttle = await openLoginThrottle({ ...options, redis }, metrics);
  const locks = await openRepositoryLocks({ config, redis }, options.locks);
  const deletes = options.deletes ?? (await openOwnDeletes({ config, pem, redis, logger }));
  onFree(() => deletes.close?.());
  const sessionSecret = options.sessionSecret ?? createSessionSecret();
  const issuerKeys = createIssuerKeysPool({ logger, now: () => performance.now() });
  onFree(() => issuerKeys.close());
  const counters = createCacheCounters();
  const writePause = createWritePause();
  // The cleaner may be in the middle of a pause.
  if (config.clean.collector.length > 0) writePause.holdAtStart();
  const usage = options.usage ? createUsageNotes({ sink: options.usage, now: () => Date.now() }) : null;
  onFree(() => usage?.close());
  return {
    shared: {
      ...{ store, counters, locks, deletes, writePause, metrics, logger, sessionSecret, throttle },
      ...{ issuerKeys, usage, lists: options.lists ?? null },
    },
    usersOptions: {
      ...{ logger, throttle, metrics },
      tokens: ipc && createWorkerIpcFan(ipc.tokens),
      personalTokens: personalTokensPath(config.state.dir),
    },
  };
}

function readTls({ config, pem }: ServedState): ListenerTls {
  return { cert: pem.cert, key: pem.key, clientCa: pem.clientCa, minVersion: config.tls.minVersion };
}

/** Opens the listener for plain HTTP; null: there is to be none. */
async function openPlain(state: ServedState, current: () => Service): Promise<PlainListener | null> {
  const { host, httpPort, proxyProtocol } = state.config.listen;
  if (httpPort === null) return null;
  return openPlainListener({
    host,
    port: httpPort,
    place: readPlace(state, state.config.listen.port),
    proxyProtocol: proxyProtocol === 'on',
    isTrusted: (address) => current().addresses.isTrusted(address),
  });
}

/** @param port the port that it listens on */
function readPlace({ config: { listen }, pem }: ServedState, port: number): RedirectPlace {
  return { names: pem.names, port: listen.publicPort ?? port };
}

function readLimits({ limits }: Config): ListenerLimits {
  return {
    headerBytes: limits.headerBytes,
    headerTimeoutMs: limits.headerTimeout,
    handshakeTimeoutMs: limits.handshakeTimeout,
    keepAliveTimeoutMs: limits.keepAliveTimeout,
    idleTimeoutMs: limits.idleTimeout,
    connections: limits.connections,
    connectionsPerAddress: limits.connectionsPerAddress,
    connectionsPerUser: limits.connectionsPerUser,
    unprovenBytes: limits.unprovenBytes,
    waitingBytes: limits.waitingBytes,
    pipelinedRequests: limits.pipelinedRequests,
  };
}
