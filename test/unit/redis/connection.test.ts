import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { connectRedis, parseRedisUrl } from '../../../src/redis/connection.ts';
import { OperatorError } from '../../../src/system/operator-error.ts';

const hosts = 'r1.example.com:26380,10.0.0.2,[::1]:26381';
const parsedHosts = (defaultPort: number) => [
  { host: 'r1.example.com', port: 26380 },
  { host: '10.0.0.2', port: defaultPort },
  { host: '::1', port: 26381 },
];
const plain = { secure: false, mode: '', db: 0, name: 'mymaster' };

describe('parseRedisUrl', () => {
  const forms: readonly [string, object][] = [
    ['redis://127.0.0.1:6380/3', { ...plain, nodes: [{ host: '127.0.0.1', port: 6380 }], db: 3 }],
    ['redis://redis', { ...plain, nodes: [{ host: 'redis', port: 6379 }] }],
    ['redis://redis/', { ...plain, nodes: [{ host: 'redis', port: 6379 }] }],
    ['rediss://[::1]:6380', { ...plain, secure: true, nodes: [{ host: '::1', port: 6380 }] }],
    [
      `redis-sentinel://${hosts}/2?name=my.master-1`,
      { ...plain, mode: '-sentinel', nodes: parsedHosts(26379), db: 2, name: 'my.master-1' },
    ],
    [`rediss-sentinel://${hosts}`, { ...plain, secure: true, mode: '-sentinel', nodes: parsedHosts(26379) }],
    [`redis-cluster://${hosts}`, { ...plain, mode: '-cluster', nodes: parsedHosts(6379) }],
    [`rediss-cluster://${hosts}/0`, { ...plain, secure: true, mode: '-cluster', nodes: parsedHosts(6379) }],
  ];
  for (const [url, parsed] of forms) {
    it(`reads ${url}`, () => assert.deepEqual(parseRedisUrl(url), parsed));
  }

  for (const url of [
    '',
    'redis',
    'localhost:6379',
    'http://127.0.0.1:6379',
    'unix:///run/redis.sock',
    'redis://',
    'redis://user:secret@127.0.0.1:6379',
    'redis://127.0.0.1:6379/zero',
    'redis://127.0.0.1:6379/0?db=1',
    'redis://127.0.0.1:6379?name=x',
    'redis://127.0.0.1:65536',
    'redis://127.0.0.1:0',
    'redis://127.0.0.1:port',
    'redis://127.0.0.1:',
    'redis://::1:6379',
    'redis://[::1',
    'redis://a,b',
    'redis-sentinel://a,,b',
    'redis-cluster://a:7000,',
    'redis-cluster://a:7000/1',
    'redis-cluster://a:7000?name=x',
  ]) {
    it(`refuses ${url === '' ? 'nothing' : url}`, () =>
      assert.throws(() => parseRedisUrl(url), OperatorError));
  }
});

describe('connectRedis', { timeout: 240_000 }, () => {
  for (const [what, beginning] of [
    ['a line', '+'],
    ['a text that is said to be longer than any', '$99999999\r\n'],
  ] as const)
    it(`leaves a connection on which ${what} does not end`, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const redis = connectRedis({
        ...{ url: `redis://127.0.0.1:${port}`, username: null, password: null, ca: null },
        connectTimeoutMs: 10_000,
      });
      const [socket] = (await once(server, 'connection')) as [Socket];
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.on('error', () => {}).resume();
      socket.write(beginning);
      const piece = Buffer.alloc(64 * 1024, 'x');
      const pieces = 64;
      let sent = 0;
      // One in each turn of the loop, since the kernel may take all of them at once.
      for (; sent < pieces && !socket.destroyed; sent += 1) {
        socket.write(piece);
        await turn();
      }
      // One that gets no answer is left, too, but by then all is sent.
      await closed;
      redis.disconnect();
      server.close();
      assert.ok(sent < pieces, 'it took them all');
    });
});
