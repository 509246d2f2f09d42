import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';

/** Plain HTTP leads to https, and does nothing else. */
describe('listen.httpPort', { timeout: 240_000 }, () => {
  let frontDoor: FrontDoor;
  let port: number;
  before(async () => {
    frontDoor = await startFrontDoor({
      upstreamUrl: 'http://127.0.0.1:9',
      set: ['listen.httpPort=0', 'listen.publicPort=443'],
    });
    const listening = await frontDoor.logged(({ msg }) => msg === 'listening');
    port = Number(listening['httpPort']);
  });
  after(() => frontDoor.stop());

  const open = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    await once(socket, 'connect');
    return socket;
  };
  /** All that comes until the connection ends, which is always the other side's doing. */
  const converse = async (text: string): Promise<string> => {
    const socket = await open();
    let received = '';
    socket.on('data', (bytes: Buffer) => (received += bytes.toString('latin1')));
    socket.write(text, 'latin1');
    await once(socket, 'close');
    return received;
  };
  const ask = (...lines: string[]): Promise<string> => converse([...lines, '', ''].join('\r\n'));
  const statusOf = (answer: string): number => Number(answer.split(' ')[1]);
  const locationOf = (answer: string): string | undefined => /^Location: (.*)\r$/m.exec(answer)?.[1];

  for (const method of ['GET', 'HEAD'])
    test(`${method} is led to https, with the name that it asks and the right port`, async () => {
      const answer = await ask(`${method} /v2/a?b=c HTTP/1.1`, 'Host: localhost:8080');
      assert.equal(statusOf(answer), 301);
      assert.equal(locationOf(answer), 'https://localhost/v2/a?b=c');
      assert.match(answer, /^Connection: close\r$/m);
    });

  const refused: readonly [name: string, status: number, ...lines: string[]][] = [
    ['a POST', 405, 'POST / HTTP/1.1', 'Host: localhost', 'Content-Length: 0'],
    ['a CONNECT', Number.NaN, 'CONNECT evil.example:443 HTTP/1.1', 'Host: evil.example:443'],
    ['a body', 400, 'GET / HTTP/1.1', 'Host: localhost', 'Content-Length: 5'],
    ['a body in chunks', 400, 'GET / HTTP/1.1', 'Host: localhost', 'Transfer-Encoding: chunked'],
    ['an Expect', 400, 'GET / HTTP/1.1', 'Host: localhost', 'Expect: 100-continue'],
    ['two hosts', 400, 'GET / HTTP/1.1', 'Host: localhost', 'Host: evil.example'],
    ['a head that is too large', 400, 'GET / HTTP/1.1', 'Host: localhost', `X: ${'x'.repeat(9000)}`],
    ['no HTTP', 400, 'EHLO'],
    ['an unknown challenge', 404, 'GET /.well-known/acme-challenge/x HTTP/1.1', 'Host: localhost'],
    [
      'another path as one',
      404,
      'GET /.well-known/acme-challenge/../../etc/passwd HTTP/1.1',
      'Host: localhost',
    ],
  ];
  for (const [name, status, ...lines] of refused)
    test(`${name} is refused`, async () => {
      const answer = await ask(...lines);
      assert.deepEqual([statusOf(answer), locationOf(answer)], [status, undefined], answer);
    });

  test('nobody is led elsewhere', async () => {
    for (const [target, host] of [
      ['/', 'evil.example'],
      ['//evil.example/', 'localhost'],
      ['http://evil.example/', 'localhost'],
      ['/\\evil.example', 'localhost'],
      ['/', 'localhost@evil.example'],
      ['/', 'localhost#.evil.example'],
    ] as const) {
      const location = locationOf(await ask(`GET ${target} HTTP/1.1`, `Host: ${host}`));
      if (location !== undefined) assert.equal(new URL(location).host, 'localhost', `${target} ${host}`);
    }
  });

  test('one request for each connection: what follows is not read', async () => {
    const request = 'GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n';
    const answer = await converse(request + request.replace('first', 'second'));
    assert.equal(answer.split('HTTP/1.1 ').length - 1, 1);
  });

  test('a crowd that says nothing keeps nobody out', async () => {
    const crowd = await Promise.all(Array.from({ length: 300 }, open));
    assert.equal(statusOf(await ask('GET / HTTP/1.1', 'Host: localhost')), 301);
    for (const socket of crowd) socket.destroy();
  });
});
