import { setDefaultHighWaterMark } from 'node:stream';
import type { Logger } from 'pino';
import { createAuthenticator } from './auth/authenticator.ts';
import { openHtpasswdFile } from './auth/htpasswd-file.ts';
import { createPasswordPool } from './auth/password-pool.ts';
import type { TokenNotice } from './auth/v1-tokens.ts';
import { createAnswerCache } from './cache/answer-cache.ts';
import { openCacheStore } from './cache/open-store.ts';
import { createStatsReader } from './cache/stats-reader.ts';
import type { WriteNotice } from './cache/shared-memory-store.ts';
import type { Config } from './config/schema.ts';
import { createMetrics, type ProcessReport } from './observability/metrics.ts';
import { createEngine } from './proxy/engine.ts';
import { createAsk, createFetch } from './proxy/fetch.ts';
import { createUpstream } from './proxy/upstream.ts';
import { createClientAddresses } from './server/client-address.ts';
import { openListener } from './server/listener.ts';
import type { Peers } from './peers.ts';
import { createPipeline } from './server/pipeline.ts';
import { createBlobStorage, findStorageFault, type BlobStorage } from './storage/blob-storage.ts';
import { loadServerCertificate } from './tls/certificate.ts';
import { loadUpstreamCa } from './tls/upstream-ca.ts';

/** A running front door. */
export type App = {
  readonly address: { readonly host: string; readonly port: number };
  /** The names in its certificate. */
  readonly names: readonly string[];
  /** What has been counted since the start, and what is so now. */
  report(): Promise<ProcessReport>;
  /** Stops accepting, lets requests under way finish for `graceMs` milliseconds (0: cuts them), and frees everything. */
  close(options: { graceMs: number }): Promise<void>;
};

/** What a stream holds back before it asks its source to wait, in bytes: measured as the best for blobs. */
const streamBufferBytes = 256 * 1024;

export type AppOptions = {
  readonly config: Config;
  readonly logger: Logger;
  /** The other processes that serve with this one; none when left out. */
  readonly peers?: { readonly writes: Peers<WriteNotice>; readonly tokens: Peers<TokenNotice> };
};

/**
 * Builds the front door from its configuration and opens it.
 * @throws OperatorError when a certificate, a file or the address is not as it must be.
 */
export async function createApp({ config, logger, peers }: AppOptions): Promise<App> {
  const { listen, tls, auth, limits } = config;
  setDefaultHighWaterMark(false, streamBufferBytes);
  const certificate = await loadServerCertificate({
    certPath: tls.cert,
    keyPath: tls.key,
    clientCaPath: tls.clientCa,
    now: new Date(),
  });
  for (const warning of certificate.warnings) logger.warn(warning);
  const upstream = createUpstream({
    ...config.upstream,
    ca: config.upstream.ca === null ? null : await loadUpstreamCa(config.upstream.ca),
  });
  const htpasswd = await openHtpasswdFile({
    path: auth.htpasswd,
    maxBcryptCost: auth.maxBcryptCost,
    maxShaCryptRounds: auth.maxShaCryptRounds,
    logger,
  });
  const metrics = createMetrics();
  const pool = createPasswordPool({
    threads: auth.passwordThreads,
    maxQueued: auth.passwordQueue,
    onWaited: metrics.passwordWaited,
  });
  const authenticator = createAuthenticator({
    htpasswd,
    pool,
    credentialTtlMs: auth.credentialTtl,
    maxCredentials: auth.credentialEntries,
    peers: peers?.tokens,
  });
  const upstreamOptions = {
    upstream,
    connectTimeoutMs: config.upstream.connectTimeout,
    readTimeoutMs: config.upstream.readTimeout,
  };
  const ask = createAsk(upstreamOptions);
  const store = await openCacheStore(config, logger, peers?.writes);
  const cache =
    store === null
      ? null
      : createAnswerCache({
          store,
          maxEntryBytes: config.cache.maxEntryBytes,
          fetch: createFetch(ask, upstream.authorization),
          now: () => performance.now(),
          logger,
        });
  const readStats =
    store &&
    createStatsReader(store, { isRemote: config.cache.driver === 'redis', now: () => performance.now() });
  const addresses = createClientAddresses(listen.trustedProxies);
  const blobs = await openStorage(config.upstream.storage, logger);
  const pipeline = createPipeline({
    authenticator,
    engine: createEngine(upstreamOptions),
    cache,
    storage: blobs === null ? null : { blobs, ask },
    addresses,
    logger,
    metrics,
    now: () => performance.now(),
    realm: auth.realm,
    openPaths: new Set(auth.open),
    versionCheck: auth.versionCheck,
    challengeAgents: auth.challengeAgents,
    upstreamUrl: upstream.url,
    upstreamAuthorization: upstream.authorization,
    maxManifestBytes: limits.manifestBytes,
    refusedBody: { maxBytes: limits.refusedBodyBytes, timeoutMs: limits.refusedBodyTimeout },
  });
  const free = async () => {
    await authenticator.close();
    if (cache) logger.info({ ...cache.counters }, 'cache counters');
    await cache?.close();
    metrics.close();
    upstream.close();
  };
  try {
    const listener = await openListener({
      host: listen.host,
      port: listen.port,
      tls: { ...certificate, minVersion: tls.minVersion },
      limits: {
        headerBytes: limits.headerBytes,
        headerTimeoutMs: limits.headerTimeout,
        handshakeTimeoutMs: limits.handshakeTimeout,
        keepAliveTimeoutMs: limits.keepAliveTimeout,
        idleTimeoutMs: limits.idleTimeout,
        connections: limits.connections,
        pipelinedRequests: limits.pipelinedRequests,
      },
      pipeline,
      logger,
    });
    return {
      address: listener.address,
      names: certificate.names,
      report: async () =>
        metrics.report({
          connections: listener.connections,
          underWay: listener.underWay,
          passwords: pool.load,
          certificateEnds: certificate.notAfter,
          cache: cache &&
            store && {
              isUsable: store.isUsable(),
              isShared: config.cache.driver === 'redis',
              counters: cache.counters,
              stats: (await readStats?.()) ?? null,
            },
        }),
      close: async ({ graceMs }) => {
        logger.info({ activeRequests: listener.active, graceMs }, 'shutting down');
        await listener.close(graceMs);
        await free();
      },
    };
  } catch (error) {
    await free();
    throw error;
  }
}

/** Opens the registry's folder if there is one; one that cannot be used is for the operator to mend, and no reason not to serve. */
async function openStorage(root: string | null, logger: Logger): Promise<BlobStorage | null> {
  if (root === null) return null;
  const fault = await findStorageFault(root);
  if (fault !== null) logger.warn(fault);
  return createBlobStorage({ root, now: () => performance.now(), logger });
}
