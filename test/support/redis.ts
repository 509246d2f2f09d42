import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createInterface } from 'node:readline';
import { Redis, type RedisOptions } from 'ioredis';
import { run, stop } from './processes.ts';

/** A real redis-server with its own folder and process. */
export type RedisServer = {
  readonly port: number;
  /** Its working directory. */
  readonly dir: string;
  /** `127.0.0.1:port` */
  readonly address: string;
  /** A connection that bypasses all that is under test. It reconnects by itself. */
  readonly admin: Redis;
  kill(): Promise<void>;
  /** Starts it again after its end, on the same port and folder. False: do not wait until it is ready. */
  start(whenReady?: boolean): Promise<void>;
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
};

export type RedisServerOptions = {
  /** Further arguments, such as '--appendonly', 'yes'. */
  readonly args?: readonly string[];
  /** How to reach it with {@link RedisServer.admin}. */
  readonly client?: RedisOptions;
  readonly sentinel?: boolean;
};

/** Starts a Redis; it is ready when this resolves. */
export async function startRedis({
  args = [],
  client = {},
  sentinel = false,
}: RedisServerOptions = {}): Promise<RedisServer> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-redis-'));
  const port = await freePort();
  const configPath = path.join(dir, 'redis.conf');
  const listen = args.includes('--tls-port')
    ? ['--port', '0', '--tls-port', String(port)]
    : ['--port', String(port)];
  const words = [
    ...(sentinel ? [configPath, '--sentinel'] : ['--save', '']),
    ...['--bind', '127.0.0.1', '--dir', dir, '--protected-mode', 'no', '--daemonize', 'no'],
    ...args.filter((word) => word !== '--tls-port'),
    ...listen,
  ];
  if (sentinel) await writeFile(configPath, '');
  let child: ChildProcess | undefined;
  const start = async (whenReady = true) => {
    const started = spawn('redis-server', words, { stdio: ['ignore', 'pipe', 'inherit'] });
    child = started;
    const lines: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const output = createInterface({ input: started.stdout });
      output.on('line', (line) => {
        lines.push(line);
        if (/Ready to accept connections|Sentinel ID is|monitor master/.test(line)) resolve();
      });
      if (!whenReady) started.once('spawn', resolve);
      started.once('error', reject);
      started.once('exit', () => reject(new Error(`redis-server ended:\n${lines.join('\n')}`)));
    });
  };
  const signal = (name: NodeJS.Signals) => {
    child?.kill(name);
  };
  await start();
  const admin = new Redis({
    port,
    host: '127.0.0.1',
    maxRetriesPerRequest: null,
    retryStrategy: () => 50,
    ...client,
  });
  admin.on('error', () => {});
  return {
    port,
    dir,
    address: `127.0.0.1:${port}`,
    admin,
    start,
    kill: async () => {
      if (child) await stop(child, 'SIGKILL');
    },
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    stop: async () => {
      admin.disconnect();
      if (child) await stop(child, 'SIGKILL');
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A server with TLS and a password. `caPath` is the PEM to trust. */
export async function startTlsRedis(password: string): Promise<RedisServer & { readonly caPath: string }> {
  const certs = await mkdtemp(path.join(tmpdir(), 'tidegate-redis-tls-'));
  const certPath = path.join(certs, 'redis.crt');
  const keyPath = path.join(certs, 'redis.key');
  const made = await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', '/CN=redis', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', keyPath, '-out', certPath],
  ]);
  if (made.code !== 0) throw new Error(`openssl failed: ${made.stderr}`);
  const server = await startRedis({
    args: [
      ...['--tls-port', '--tls-cert-file', certPath, '--tls-key-file', keyPath],
      ...['--tls-ca-cert-file', certPath, '--tls-auth-clients', 'no', '--requirepass', password],
    ],
    client: { password, tls: { rejectUnauthorized: false } },
  });
  return {
    ...server,
    caPath: certPath,
    stop: async () => {
      await server.stop();
      await rm(certs, { recursive: true, force: true });
    },
  };
}

/** A primary, a replica and three sentinels that give it up after 300 ms of silence. */
export async function startSentinelGroup(name: string): Promise<{
  readonly primary: RedisServer;
  readonly replica: RedisServer;
  readonly sentinels: readonly RedisServer[];
  stop(): Promise<void>;
}> {
  const args = ['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1'];
  const primary = await startRedis({ args });
  const replica = await startRedis({ args: [...args, '--replicaof', '127.0.0.1', String(primary.port)] });
  const sentinels = await Promise.all([0, 1, 2].map(() => startRedis({ sentinel: true })));
  await Promise.all(
    sentinels.map(async ({ admin }) => {
      await admin.call('SENTINEL', 'MONITOR', name, '127.0.0.1', primary.port, 2);
      await admin.call('SENTINEL', 'SET', name, 'down-after-milliseconds', 300, 'failover-timeout', 2000);
    }),
  );
  await until('the sentinels know each other and the replica', async () => {
    const states = await Promise.all(
      sentinels.map(async ({ admin }) => (await admin.call('SENTINEL', 'MASTER', name)) as string[]),
    );
    const field = (state: string[], key: string) => state[state.indexOf(key) + 1];
    return states.every((s) => field(s, 'num-other-sentinels') === '2' && field(s, 'num-slaves') === '1');
  });
  const servers = [...sentinels, replica, primary];
  return {
    primary,
    replica,
    sentinels,
    stop: async () => {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}

/** Three primaries that share the slots, and with `replicas` one replica each. */
export async function startCluster({ replicas = false } = {}): Promise<{
  readonly nodes: readonly RedisServer[];
  readonly stop: () => Promise<void>;
}> {
  const nodes = await Promise.all(
    Array.from({ length: replicas ? 6 : 3 }, async () =>
      startRedis({
        args: [
          ...['--cluster-enabled', 'yes', '--cluster-port', String(await freePort())],
          ...['--cluster-node-timeout', '1000', '--repl-diskless-sync-delay', '0'],
        ],
      }),
    ),
  );
  const [first] = nodes;
  if (!first) throw new Error('no node');
  const busPort = async ({ admin }: RedisServer) =>
    ((await admin.config('GET', 'cluster-port')) as string[])[1] ?? '';
  const bounds = [0, 5461, 10923, 16384];
  await Promise.all(
    nodes.slice(0, 3).map(async ({ admin }, i) => {
      await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
      await admin.call('CLUSTER', 'ADDSLOTSRANGE', bounds[i] ?? 0, (bounds[i + 1] ?? 0) - 1);
    }),
  );
  for (const node of nodes)
    await first.admin.call('CLUSTER', 'MEET', '127.0.0.1', node.port, await busPort(node));
  const known = async ({ admin }: RedisServer) => await admin.cluster('INFO');
  await until('the nodes know each other', async () => {
    const infos = await Promise.all(nodes.map(known));
    return infos.every(
      (info) => info.includes(`cluster_known_nodes:${nodes.length}`) && info.includes('cluster_state:ok'),
    );
  });
  await Promise.all(
    nodes.slice(3).map(async ({ admin }, i) => {
      const primaryId = (await nodes[i]?.admin.call('CLUSTER', 'MYID')) as string;
      await until('the replica is one', () =>
        admin.call('CLUSTER', 'REPLICATE', primaryId).then(
          () => true,
          () => false,
        ),
      );
      await until('it has caught up', async () =>
        (await admin.info('replication')).includes('master_link_status:up'),
      );
    }),
  );
  return {
    nodes,
    stop: async () => {
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}

/** A TCP relay in front of a server. */
export type Relay = {
  readonly port: number;
  readonly address: string;
  /** From now on holds all data in both directions; connections stay open and new ones are accepted. */
  stall(): void;
  /** Lets the held data through. */
  flow(): void;
  /** Closes all connections; accepts later ones. */
  cut(): void;
  /** While true, new connections are accepted but never answered. */
  swallow(swallowing: boolean): void;
  /** Closes all connections, and accepts no more. */
  refuse(refusing: boolean): void;
  /** How many connections it has accepted. */
  connections(): number;
  close(): Promise<void>;
};

export async function startRelay(targetPort: number): Promise<Relay> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let stalled = false;
  let refusing = false;
  let swallowing = false;
  let connections = 0;
  const server = createServer((client) => {
    if (refusing) {
      client.destroy();
      return;
    }
    connections += 1;
    const target = connect(targetPort, '127.0.0.1');
    const pair = [client, target] as const;
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      target.destroy();
    };
    const isSwallowed = swallowing;
    for (const [from, to] of [pair, [target, client] as const]) {
      from.on('data', (chunk: Buffer) => !(isSwallowed && to === client) && to.write(chunk));
      from.on('error', () => {});
      from.on('close', end);
      if (stalled) from.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    for (const pair of pairs) pair[0].resetAndDestroy();
  };
  return {
    port,
    address: `127.0.0.1:${port}`,
    stall: () => {
      stalled = true;
      for (const pair of pairs) for (const socket of pair) socket.pause();
    },
    flow: () => {
      stalled = false;
      for (const pair of pairs) for (const socket of pair) socket.resume();
    },
    cut,
    swallow: (value) => {
      swallowing = value;
    },
    refuse: (value) => {
      refusing = value;
      if (refusing) cut();
    },
    connections: () => connections,
    close: async () => {
      server.close();
      for (const pair of pairs) for (const socket of pair) socket.destroy();
      await once(server, 'close');
    },
  };
}

/** Waits until a condition is true; fails if that takes too long, also on a machine that is several times slower than most. */
export async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const giveUpAtMs = performance.now() + timeoutMs;
  while (!(await isTrue())) {
    if (performance.now() > giveUpAtMs) throw new Error(`did not happen within ${timeoutMs} ms: ${what}`);
    await delay(10);
  }
}

/** Finds a free port: redis-server cannot choose one itself. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Lets time pass for all keys of the cache: Redis drops those that would expire meanwhile. */
export async function passTime(
  servers: readonly RedisServer[],
  keyPrefix: string,
  ms: number,
): Promise<void> {
  for (const { admin } of servers) {
    for (const key of await keysUnder(admin, keyPrefix)) {
      const leftMs = await admin.pttl(key);
      if (leftMs === -2) continue; // its time was up just now
      if (leftMs === -1) throw new Error(`a key without a lifetime: ${key}`);
      await admin.pexpire(key, leftMs - ms);
      if (!key.endsWith(':words')) continue;
      const writes = await admin.hget(key, 'writes');
      const moved = writes?.replace(/\|(\d+)(?= |$)/g, (_, us: string) => `|${Number(us) - ms * 1000}`);
      if (moved !== undefined) await admin.hset(key, 'writes', moved);
    }
  }
}

export async function keysUnder(admin: Redis, keyPrefix: string): Promise<string[]> {
  return (await admin.keys('*')).filter((key) => key.startsWith(keyPrefix));
}
