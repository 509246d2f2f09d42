import assert from 'node:assert/strict';
import { createRedisKeys } from '../../src/redis/keys.ts';
import { createCacheClient, type CacheClient } from './cache-client.ts';
import { startFrontDoor, type FrontDoor } from './front-door.ts';
import { head } from './http-message.ts';
import { imageType, makeImage } from './manifest-registry.ts';
import { startRedis, startRelay, until, type RedisServer, type Relay } from './redis.ts';
import { startUpstream, type UpstreamRequest } from './scripted-upstream.ts';

const { digest, body } = makeImage('one');
export const ok = head('HTTP/1.1 200 OK', 'Content-Length: 0');
export const created = head('HTTP/1.1 201 Created', 'Content-Length: 0');
export const accepted = head('HTTP/1.1 202 Accepted', 'Content-Length: 0');

export { digest };

type Answer = Awaited<ReturnType<CacheClient['ask']>>;

/** Two instances that share a Redis, whose deletes wait for each other. */
export type DeletingPair = {
  readonly redis: RedisServer;
  /** The relay between the second instance and Redis. */
  readonly relay: Relay;
  readonly second: FrontDoor;
  readonly clients: readonly [CacheClient, CacheClient];
  /** Requests to the repository `app` that upstream has not answered yet. It answers others at once. */
  readonly waiting: readonly UpstreamRequest[];
  push(i: 0 | 1, repository: string): Promise<Answer>;
  remove(i: 0 | 1, repository: string): Promise<Answer>;
  /** Waits until upstream has a request of this method in `app`. */
  arrived(method: string): Promise<UpstreamRequest>;
  /** How many deletes in `app` have been announced in Redis. */
  freezes(): Promise<number>;
  close(): Promise<void>;
};

export async function startDeletingPair(): Promise<DeletingPair> {
  const waiting: UpstreamRequest[] = [];
  const upstream = await startUpstream({
    script: async (request) => {
      const { startLine } = request;
      if (startLine.includes('/app/')) waiting.push(request);
      await request.body();
      if (startLine.includes('/app/')) return;
      request.answer(startLine.startsWith('DELETE') ? accepted : startLine.startsWith('PUT') ? created : ok);
    },
  });
  const redis = await startRedis();
  const relay = await startRelay(redis.port);
  const start = (address: string, workers: number) =>
    startFrontDoor({
      upstreamUrl: upstream.url,
      set: [
        ...[`workers=${workers}`, 'cache.driver=redis', `cache.redis.url=redis://${address}`],
        ...['cache.redis.instanceTimeout=12s', 'cache.redis.timeout=1s', 'limits.deleteWait=5s'],
        ...['log.audit=false', 'upstream.readTimeout=40s'],
      ],
    });
  const [first, second] = await Promise.all([start(redis.address, 2), start(relay.address, 1)]);
  const clients = [createCacheClient(first), createCacheClient(second)] as const;
  const find = (method: string) => waiting.find(({ startLine }) => startLine.startsWith(method));
  return {
    ...{ redis, relay, second, clients, waiting },
    push: (i, repository) =>
      clients[i].ask('PUT', `/v2/${repository}/manifests/v1`, {
        headers: { 'Content-Type': imageType },
        body,
      }),
    remove: (i, repository) => clients[i].ask('DELETE', `/v2/${repository}/manifests/${digest}`),
    arrived: async (method) => {
      await until(`upstream has a ${method}`, () => find(method) !== undefined);
      return find(method) ?? assert.fail();
    },
    freezes: async () => {
      const { freezes: key } = createRedisKeys('tidegate:', upstream.url);
      const told = await redis.admin.xrange(key, '-', '+');
      return told.filter(([, fields]) => fields.includes('freeze') && fields.includes('app')).length;
    },
    close: async () => {
      for (const client of clients) client.close();
      await Promise.all([first.stop(), second.stop()]);
      await relay.close();
      await redis.stop();
      await upstream.close();
    },
  };
}

export const assertRefused = ({ status, header }: Answer): void =>
  assert.deepEqual([status, header('Retry-After')], [503, '5']);
