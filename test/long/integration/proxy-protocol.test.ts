import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { chunked, head, values } from '../../support/http-message.ts';
import { logIn } from '../../support/logins.ts';
import { stop } from '../../support/processes.ts';
import { startProxyStandIn } from '../../support/proxy-stand-in.ts';
import { anonymous, authorized, connectClient, exchange } from '../../support/raw-client.ts';
import { freePort, until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';

const proxy = '127.0.0.8';
const line = (source: string) => Buffer.from(`PROXY TCP4 ${source} 192.0.2.99 4711 443\r\n`);
const line6 = (source: string) => Buffer.from(`PROXY TCP6 ${source} 2001:db8::99 4711 443\r\n`);
const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const packet = (command: number, family: number, ...payload: number[]) =>
  Buffer.concat([signature, Buffer.from([command, family, 0, payload.length, ...payload])]);
const packet4 = (source: readonly number[], ...more: number[]) =>
  packet(0x21, 0x11, ...source, 192, 0, 2, 99, 0x12, 0x67, 1, 0xbb, ...more);

describe('the PROXY protocol', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  before(async () => {
    upstream = await startUpstream({
      script: async (request) => {
        const { body } = await request.body();
        request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${body.length}`), body);
      },
    });
  });
  after(() => upstream.close());
  const withProxy = async (
    settings: readonly string[],
    use: (frontDoor: FrontDoor, through: ReturnType<typeof throughOf>) => Promise<void>,
  ) => {
    const set = ['listen.proxyProtocol=on', `listen.trustedProxies=${proxy},192.0.2.200`, ...settings];
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set });
    try {
      await use(frontDoor, throughOf(frontDoor));
    } finally {
      await frontDoor.stop();
    }
  };
  type Pieces = (first: Buffer) => readonly Buffer[];
  /** Gives a door that is reached through a proxy which sends these pieces. */
  const throughOf =
    (frontDoor: FrontDoor) =>
    async <T>(
      pieces: Pieces | Buffer,
      use: (door: Pick<FrontDoor, 'port' | 'ca'>) => Promise<T>,
      from = proxy,
    ): Promise<T> => {
      const standIn = await startProxyStandIn({
        targetPort: frontDoor.port,
        from,
        pieces: Buffer.isBuffer(pieces) ? (first) => [pieces, first] : pieces,
      });
      try {
        return await use({ port: standIn.port, ca: frontDoor.ca });
      } finally {
        await standIn.close();
      }
    };
  let count = 0;
  /** Sends a request with a body, and gives what was made of its sender. */
  const askThrough = async (
    frontDoor: FrontDoor,
    pieces: Pieces | Buffer,
    ...lines: string[]
  ): Promise<{ client: unknown; forwardedFor: string[] }> => {
    const target = `/v2/app/blobs/uploads/${(count += 1)}`;
    const body = `what is sent to ${target}`;
    const request = authorized(`PATCH ${target}`, 'Transfer-Encoding: chunked', ...lines) + chunked(body);
    const response = await throughOf(frontDoor)(pieces, (door) => exchange(door, request));
    assert.equal(response.status, 200);
    assert.equal(response.body.toString(), body);
    const logged = await frontDoor.logged((entry) => entry['path'] === target);
    const received = upstream.requests.at(-1) ?? assert.fail();
    return { client: logged['client'], forwardedFor: values(received, 'x-forwarded-for') };
  };

  test('names the client, in version 1 and 2, in whatever pieces it comes', () =>
    withProxy([], async (frontDoor) => {
      const bytewise = (header: Buffer) => Array.from(header, (byte) => Buffer.from([byte]));
      const headers: [Buffer, string][] = [
        [line('198.51.100.1'), '198.51.100.1'],
        [line6('2001:DB8:0:0::0001'), '2001:db8::1'],
        [line6('::ffff:198.51.100.2'), '198.51.100.2'],
        [packet4([198, 51, 100, 3]), '198.51.100.3'],
        [packet4([198, 51, 100, 4], 0x20, 0, 2, 7, 7, 3, 0, 1, 9), '198.51.100.4'],
      ];
      for (const [header, client] of headers) {
        const ways: Pieces[] = [
          (first) => [header, first],
          (first) => [Buffer.concat([header, first])],
          (first) => [...bytewise(header), first],
          (first) => [
            header.subarray(0, -1),
            Buffer.concat([header.subarray(-1), first.subarray(0, 1)]),
            first.subarray(1),
          ],
        ];
        for (const pieces of ways)
          assert.deepEqual(await askThrough(frontDoor, pieces), { client, forwardedFor: [client] });
      }
    }));

  test('is of the proxy itself where it names none', () =>
    withProxy([], async (frontDoor) => {
      for (const header of [Buffer.from('PROXY UNKNOWN\r\n'), packet(0x20, 0), packet(0x21, 0)])
        assert.equal((await askThrough(frontDoor, header)).client, proxy);
    }));

  test('makes nobody a trusted proxy who is none', () =>
    withProxy([], async (frontDoor) => {
      const claim = 'X-Forwarded-For: 203.0.113.1';
      assert.deepEqual(await askThrough(frontDoor, line('198.51.100.1'), claim), {
        client: '198.51.100.1',
        forwardedFor: ['198.51.100.1'],
      });
      assert.deepEqual(await askThrough(frontDoor, line('192.0.2.200'), claim), {
        client: '203.0.113.1',
        forwardedFor: ['203.0.113.1, 192.0.2.200'],
      });
    }));

  test('closes what does not begin with a header, and says nothing', () =>
    withProxy(['log.level=debug'], async (frontDoor, through) => {
      const garbage: (readonly [string, Buffer])[] = [
        ['nothing but TLS', Buffer.alloc(0)],
        ['HTTP', Buffer.from(anonymous('GET /v2/'))],
        ['a wrong line', Buffer.from('PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n')],
        ['a line that does not end', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(200)}`)],
        ['another version', packet(0x31, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)],
        ['too short', packet(0x21, 0x11, 1, 2, 3)],
        ['UDP', packet(0x21, 0x12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)],
        ['too long', Buffer.concat([signature, Buffer.from([0x21, 0x11, 0xff, 0xff])])],
        ['two headers', Buffer.concat([line('198.51.100.1'), line('198.51.100.1')])],
      ];
      for (const [what, bytes] of garbage) {
        await assert.rejects(
          through(bytes, (door) => connectClient(door)),
          what,
        );
        const socket = connect({ port: frontDoor.port, host: '127.0.0.1', localAddress: proxy });
        socket.on('error', () => {});
        let received = 0;
        socket.on('data', (chunk: Buffer) => (received += chunk.length));
        socket.end(bytes);
        await once(socket, 'close');
        // After a header comes TLS, and what is not TLS may be told so by an alert.
        if (what !== 'two headers') assert.equal(received, 0, what);
      }
      // Behind a header, HTTP without TLS gets what it gets elsewhere: one sentence.
      const socket = connect({ port: frontDoor.port, host: '127.0.0.1', localAddress: proxy });
      let answer = '';
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
      socket.end(Buffer.concat([line('198.51.100.1'), Buffer.from(anonymous('GET /v2/'))]));
      await once(socket, 'close');
      assert.match(answer, /^HTTP\/1\.1 400 [^]*\r\n\r\nThis port speaks HTTPS only/);
      assert.equal((await askThrough(frontDoor, line('198.51.100.1'))).client, '198.51.100.1');
    }));

  test('closes what takes longer than limits.handshakeTimeout', () =>
    withProxy(['limits.handshakeTimeout=300ms'], async (frontDoor) => {
      for (const half of ['', 'PROXY TCP4 198.51', '\r\n\r\n']) {
        const socket = connect({ port: frontDoor.port, host: '127.0.0.1', localAddress: proxy });
        socket.on('error', () => {}).resume();
        socket.write(half);
        await once(socket, 'close');
      }
    }));

  test('is taken from trusted proxies only', () =>
    withProxy([], async (frontDoor, through) => {
      await assert.rejects(through(line('198.51.100.1'), (door) => connectClient(door), '127.0.0.1'));
      const said = await frontDoor.logged(({ msg }) => msg.includes('listen.trustedProxies'));
      assert.equal(said['client'], '127.0.0.1');
      assert.equal((await askThrough(frontDoor, line('198.51.100.1'))).client, '198.51.100.1');
    }));

  test('lets limits count the client, not the proxy', () =>
    withProxy(
      ['limits.connectionsPerAddress=1', 'auth.throttle.addressFailures=2'],
      async (frontDoor, through) => {
        const statusFor = (source: string, password: string, tries = 1) =>
          through(line(source), async (door) => {
            let status = 0;
            for (let i = 0; i < tries; i++)
              ({ status } = await logIn(door, { name: 'somebody', password: `${password} ${i}` }));
            return status;
          });
        assert.equal(await statusFor('198.51.100.1', 'guess', 3), 429);
        assert.equal(await statusFor('198.51.100.2', 'guess'), 401);
        await through(line('198.51.100.3'), async (door) => {
          const first = await connectClient(door);
          first.send(authorized('GET /v2/x'));
          assert.equal((await first.response()).status, 200);
          await assert.rejects(connectClient(door));
          assert.equal((await askThrough(frontDoor, line('198.51.100.4'))).client, '198.51.100.4');
          first.leave();
        });
      },
    ));

  test('with several workers', () =>
    withProxy(['workers=2'], async (frontDoor) => {
      const pids = new Set<unknown>();
      await until('both have answered', async () => {
        const client = `198.51.100.${pids.size + 1}`;
        assert.equal((await askThrough(frontDoor, line(client))).client, client);
        pids.add(frontDoor.log.findLast((entry) => entry.msg === 'request')?.['pid']);
        return pids.size === 2;
      });
    }));
});

describe('behind a real HAProxy', { timeout: 240_000, skip: unlessInstalled('haproxy') }, () => {
  for (const option of ['send-proxy', 'send-proxy-v2', 'send-proxy-v2 proxy-v2-options unique-id']) {
    test(option, async () => {
      const upstream = await startUpstream({
        script: async (request) => {
          const { body } = await request.body();
          request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${body.length}`), body);
        },
      });
      const frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        set: ['listen.proxyProtocol=on', `listen.trustedProxies=${proxy}`],
      });
      const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-haproxy-'));
      const port = await freePort();
      const configPath = path.join(dir, 'haproxy.cfg');
      const server = `server door 127.0.0.1:${frontDoor.port} source ${proxy} ${option}`;
      await writeFile(
        configPath,
        [
          'defaults',
          '  mode tcp',
          '  timeout connect 5s',
          '  timeout client 30s',
          '  timeout server 30s',
          'frontend public',
          `  bind 127.0.0.1:${port}`,
          ...(option.includes('unique-id') ? ['  unique-id-format %ci-%cp'] : []),
          '  default_backend doors',
          'backend doors',
          `  ${server}`,
          '',
        ].join('\n'),
      );
      const haproxy = spawn('haproxy', ['-f', configPath, '-db'], { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      haproxy.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
      try {
        await until('it listens', async () => {
          assert.equal(haproxy.exitCode, null, said);
          const socket = connect(port, '127.0.0.1');
          const isOpen = await Promise.race([
            once(socket, 'connect').then(() => true),
            once(socket, 'close').then(() => false),
          ]).catch(() => false);
          socket.destroy();
          return isOpen;
        });
        for (const client of ['127.0.0.21', '127.0.0.22']) {
          const raw = await connectClient({ port, ca: frontDoor.ca }, { localAddress: client });
          const body = 'x'.repeat(100_000);
          raw.send(authorized(`PATCH /v2/from/${client}`, `Content-Length: ${body.length}`), body);
          const response = await raw.response();
          assert.equal(response.status, 200);
          assert.equal(response.body.toString(), body);
          const logged = await frontDoor.logged((entry) => entry['path'] === `/v2/from/${client}`);
          assert.equal(logged['client'], client);
          raw.leave();
        }
      } finally {
        await stop(haproxy);
        await frontDoor.stop();
        await upstream.close();
        await rm(dir, { recursive: true, force: true });
      }
    });
  }
});
