import { readFile } from 'node:fs/promises';
import { connectRedis, type RedisConnectionOptions } from '../../../src/redis/connection.ts';
import { describeCacheStore } from '../../contract/cache-store.ts';
import { openTestStore } from '../../support/redis-store.ts';
import {
  passTime,
  startCluster,
  startRedis,
  startSentinelGroup,
  startTlsRedis,
  type RedisServer,
} from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

type Deployment = {
  readonly servers: readonly RedisServer[];
  readonly connection: Pick<RedisConnectionOptions, 'url'> & Partial<RedisConnectionOptions>;
  readonly stop: () => Promise<void>;
};

const password = 'open: sesame @ #/?';

const deployments: readonly { name: string; start: () => Promise<Deployment> }[] = [
  {
    name: 'Redis, one instance',
    start: async () => {
      const server = await startRedis();
      return {
        servers: [server],
        connection: { url: `redis://${server.address}` },
        stop: () => server.stop(),
      };
    },
  },
  {
    name: 'Redis over TLS with a password, another database',
    start: async () => {
      const server = await startTlsRedis(password);
      await server.admin.select(3);
      return {
        servers: [server],
        connection: {
          url: `rediss://${server.address}/3`,
          password,
          ca: await readFile(server.caPath, 'utf8'),
        },
        stop: () => server.stop(),
      };
    },
  },
  {
    name: 'Redis behind sentinels',
    start: async () => {
      const group = await startSentinelGroup('tide.gate-1');
      const sentinels = group.sentinels.map(({ address }) => address).join(',');
      return {
        servers: [group.primary],
        connection: { url: `redis-sentinel://${sentinels}/0?name=tide.gate-1` },
        stop: () => group.stop(),
      };
    },
  },
  {
    name: 'Redis Cluster of three',
    start: async () => {
      const { nodes, stop } = await startCluster();
      return {
        servers: nodes,
        connection: { url: `redis-cluster://${nodes.map(({ address }) => address).join(',')}` },
        stop,
      };
    },
  },
];

for (const { name, start } of deployments) {
  let deployment: Deployment | undefined;
  let opened = 0;
  describeCacheStore({
    name: `${name}, one writes and another reads`,
    skip: unlessInstalled('redis-server', 'openssl'),
    start: async () => {
      deployment = await start();
    },
    stop: async () => deployment?.stop(),
    open: async (limits) => {
      if (!deployment) throw new Error('not started');
      const { servers, connection } = deployment;
      opened += 1;
      const keyPrefix = `test-${opened}:`;
      const openOne = () =>
        openTestStore({
          ...limits,
          keyPrefix,
          redis: connectRedis({
            username: null,
            password: null,
            ca: null,
            connectTimeoutMs: 2000,
            ...connection,
          }),
        });
      const writer = openOne();
      const reader = openOne();
      await Promise.all([writer.trusted(), reader.trusted()]);
      return {
        writer: writer.store,
        filler: writer.store,
        reader: reader.store,
        pass: (ms) => passTime(servers, keyPrefix, ms),
        close: async () => {
          await writer.store.close();
          await reader.store.close();
        },
      };
    },
  });
}
