import { setDefaultHighWaterMark } from 'node:stream';
import type { Logger } from 'pino';
import { createAuthenticator } from './auth/authenticator.ts';
import { openHtpasswdFile } from './auth/htpasswd-file.ts';
import { createHashKey } from './auth/keyed-hash.ts';
import {
  createLoginThrottle,
  type LockOutKind,
  type LoginNotice,
  type LoginThrottle,
} from './auth/login-throttle.ts';
import { createPasswordPool } from './auth/password-pool.ts';
import { createSharedLockOuts } from './auth/shared-lock-outs.ts';
import type { TokenNotice } from './auth/v1-tokens.ts';
import { createAnswerCache } from './cache/answer-cache.ts';
import { openCacheStore, openRedis } from './cache/open-store.ts';
import type { WriteNotice } from './cache/shared-memory-store.ts';
import type { Config } from './config/schema.ts';
import { createEngine } from './proxy/engine.ts';
import { createAsk, createFetch } from './proxy/fetch.ts';
import { createUpstream } from './proxy/upstream.ts';
import { createClientAddresses } from './server/client-address.ts';
import { openListener } from './server/listener.ts';
import type { Peers } from './peers.ts';
import { createPipeline } from './server/pipeline.ts';
import { createBlobStorage, findStorageFault, type BlobStorage } from './storage/blob-storage.ts';
import { loadServerCertificate } from './tls/certificate.ts';
import { loadPem, parseCertificates } from './tls/pem.ts';

/** A running front door. */
export type App = {
  readonly address: { readonly host: string; readonly port: number };
  /** The names in its certificate. */
  readonly names: readonly string[];
  /** Stops accepting, lets requests under way finish for `graceMs` milliseconds (0: cuts them), and frees everything. */
  close(options: { graceMs: number }): Promise<void>;
};

/** What a stream holds back before it asks its source to wait, in bytes: measured as the best for blobs. */
const streamBufferBytes = 256 * 1024;

export type AppOptions = {
  readonly config: Config;
  readonly logger: Logger;
  /** The other processes that serve with this one; none when left out. */
  readonly peers?: {
    readonly writes: Peers<WriteNotice>;
    readonly tokens: Peers<TokenNotice>;
    readonly logins: Peers<LoginNotice>;
  };
  /** The key of what they tell each other of right passwords; one of its own when left out. */
  readonly loginKey?: Buffer;
};

/**
 * Builds the front door from its configuration and opens it.
 * @throws OperatorError when a certificate, a file or the address is not as it must be.
 */
export async function createApp(options: AppOptions): Promise<App> {
  const { config, logger, peers } = options;
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
  const authenticator = createAuthenticator({
    htpasswd,
    throttle: await openLoginThrottle(options),
    pool: createPasswordPool({ threads: auth.passwordThreads, maxQueued: auth.passwordQueue }),
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
  const addresses = createClientAddresses(listen.trustedProxies);
  const blobs = await openStorage(config.upstream.storage, logger);
  const pipeline = createPipeline({
    authenticator,
    engine: createEngine(upstreamOptions),
    cache,
    storage: blobs === null ? null : { blobs, ask },
    addresses,
    logger,
    now: () => performance.now(),
    realm: auth.realm,
    openPaths: new Set(auth.open),
    versionCheck: auth.versionCheck,
    challengeAgents: auth.challengeAgents,
    upstreamUrl: upstream.url,
    upstreamAuthorization: upstream.authorization,
    maxManifestBytes: limits.manifestBytes,
    uploadsPerUser: limits.uploadsPerUser,
    refusedBody: { maxBytes: limits.refusedBodyBytes, timeoutMs: limits.refusedBodyTimeout },
  });
  const free = async () => {
    await authenticator.close();
    if (cache) logger.info({ ...cache.counters }, 'cache counters');
    await cache?.close();
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
        connectionsPerAddress: limits.connectionsPerAddress,
        pipelinedRequests: limits.pipelinedRequests,
      },
      proxyProtocol: listen.proxyProtocol === 'on',
      addresses,
      pipeline,
      logger,
    });
    return {
      address: listener.address,
      names: certificate.names,
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

/** A proof outlives the remembered password that it was made with by so much, in milliseconds. */
const provenAfterMs = 24 * 60 * 60 * 1000;

const lockOutSentence: Readonly<Record<LockOutKind, string>> = {
  address: 'too many wrong passwords from one address: it is locked out',
  name: 'too many wrong passwords under one name: it is locked out',
  repeat: 'the same wrong password again and again from one address: that password is locked out there',
};

async function openLoginThrottle({ config, logger, peers, loginKey }: AppOptions): Promise<LoginThrottle> {
  const { auth, cache, upstream } = config;
  const { addressFailures, nameFailures, repeatFailures, window, lockTime, maxLockTime, entries } =
    auth.throttle;
  const rules = { windowMs: window, lockMs: lockTime, maxLockMs: maxLockTime };
  const address = { ...rules, failures: addressFailures };
  const name = { ...rules, failures: nameFailures };
  const provenTtlMs = auth.credentialTtl + provenAfterMs;
  const now = () => performance.now();
  const shares = cache.driver === 'redis' && addressFailures + nameFailures > 0;
  return createLoginThrottle({
    address,
    name,
    repeat: { ...rules, failures: repeatFailures },
    maxEntries: entries,
    hashKey: loginKey ?? createHashKey(),
    provenTtlMs,
    maxProven: auth.credentialEntries,
    peers: peers?.logins,
    shared: shares
      ? createSharedLockOuts({
          redis: await openRedis(cache.redis),
          keyPrefix: cache.redis.keyPrefix,
          upstreamUrl: upstream.url,
          address,
          name,
          provenTtlMs,
          timeoutMs: cache.redis.timeout,
          now,
        })
      : null,
    events: {
      onThrottled: () => {},
      onLockOut: ({ kind, network, user, forMs, times }) =>
        logger.warn({ client: network, user, forMs, times }, lockOutSentence[kind]),
    },
    now,
  });
}

/** Opens the registry's folder if there is one; one that cannot be used is for the operator to mend, and no reason not to serve. */
async function openStorage(root: string | null, logger: Logger): Promise<BlobStorage | null> {
  if (root === null) return null;
  const fault = await findStorageFault(root);
  if (fault !== null) logger.warn(fault);
  return createBlobStorage({ root, now: () => performance.now(), logger });
}

/** Checked here, because Node takes an empty text for none given, and would trust every public CA. */
async function loadUpstreamCa(path: string): Promise<string> {
  const pem = await loadPem(
    path,
    "set upstream.ca to the PEM file of the CA that signed upstream's certificate",
  );
  parseCertificates(pem, path);
  return pem;
}
