import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { elasticCommonSchema } from '../../../src/telemetry/log/elastic-common-schema.ts';

/** The line that the schema makes of these, parsed. */
function lineOf(fields: object, message: string): Record<string, unknown> {
  let written = '';
  pino(elasticCommonSchema, { write: (line) => (written += line) }).info(fields, message);
  return JSON.parse(written) as Record<string, unknown>;
}
/** Less what every line has. */
function eventOf(fields: object, message: string): Record<string, unknown> {
  const common = [
    '@timestamp',
    'ecs.version',
    'service.name',
    'process.pid',
    'host.hostname',
    'log.level',
    'message',
  ];
  const line = lineOf(fields, message);
  for (const name of common) assert.ok(name in line, name);
  assert.match(String(line['@timestamp']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.equal(line['message'], message);
  return Object.fromEntries(Object.entries(line).filter(([name]) => !common.includes(name)));
}

const requestId = '0123456789abcdef0123456789abcdef';

test('a change in the console is one of the audit', () => {
  const { 'event.dataset': dataset, 'event.action': action } = eventOf(
    { change: 'password' },
    'console change',
  );
  assert.deepEqual([dataset, action], ['tidegate.audit', 'console change']);
});

test('the line of a request', () => {
  assert.deepEqual(
    eventOf(
      {
        requestId,
        user: 'alice',
        method: 'GET',
        path: '/v2/app/manifests/1',
        route: 'manifest',
        status: 200,
        bytesIn: 0,
        bytesOut: 502,
        durationMs: 1.5,
        client: '192.0.2.17',
        userAgent: 'test/1',
        traceId: 'a'.repeat(32),
        clientRequestId: 'x-1',
      },
      'request',
    ),
    {
      'event.kind': 'event',
      'event.dataset': 'tidegate.access',
      'event.category': ['web'],
      'event.type': ['access'],
      'event.outcome': 'success',
      'event.duration': 1_500_000,
      'http.request.id': requestId,
      'http.request.method': 'GET',
      'http.request.body.bytes': 0,
      'http.response.body.bytes': 502,
      'http.response.status_code': 200,
      'trace.id': 'a'.repeat(32),
      'span.id': requestId.slice(0, 16),
      'url.path': '/v2/app/manifests/1',
      'user.name': 'alice',
      'user_agent.original': 'test/1',
      'client.address': '192.0.2.17',
      'client.ip': '192.0.2.17',
      'tidegate.route': 'manifest',
      'tidegate.clientRequestId': 'x-1',
    },
  );
});

test('what there is none of is left out: an index refuses an empty address and a status that is none', () => {
  const line = eventOf(
    { requestId, user: null, method: 'GET', status: 0, client: '', userAgent: '' },
    'request',
  );
  for (const name of [
    'user.name',
    'client.ip',
    'client.address',
    'user_agent.original',
    'http.response.status_code',
  ])
    assert.ok(!(name in line), name);
  assert.equal(line['event.outcome'], 'unknown');
  assert.equal(eventOf({ status: 404 }, 'request')['event.outcome'], 'failure');
  assert.equal(eventOf({ client: 'fe80::1%eth0' }, 'request')['client.ip'], 'fe80::1');
});

test('a push, and a delete', () => {
  const digest = `sha256:${'0'.repeat(64)}`;
  const push = {
    repository: 'team/app',
    tag: '1',
    digest,
    oldDigest: null,
    bytes: 5,
    imageBytes: 9,
    status: 201,
  };
  assert.deepEqual(eventOf({ ...push, result: 'success' }, 'push'), {
    'event.kind': 'event',
    'event.dataset': 'tidegate.audit',
    'event.action': 'push',
    'event.category': ['web'],
    'event.type': ['change'],
    'event.outcome': 'success',
    'container.image.name': 'team/app',
    'container.image.tag': ['1'],
    'container.image.hash.all': [digest],
    'http.request.body.bytes': 5,
    'http.response.status_code': 201,
    'tidegate.imageBytes': 9,
  });
  const deleted = eventOf({ object: 'tag', status: 502, result: 'unknown' }, 'delete');
  assert.deepEqual([deleted['event.type'], deleted['event.outcome']], [['deletion'], 'unknown']);
});

test('anything else: a path of a file is no path of a URL, and an error has its parts', () => {
  assert.deepEqual(eventOf({ path: '/etc/htpasswd', users: 3 }, 'changed'), {
    'event.kind': 'event',
    'event.dataset': 'tidegate.error',
    'file.path': '/etc/htpasswd',
    'tidegate.users': 3,
  });
  const line = eventOf({ err: new TypeError('why') }, 'failed');
  assert.equal(line['error.type'], 'TypeError');
  assert.equal(line['error.message'], 'why');
  assert.match(String(line['error.stack_trace']), /TypeError: why/);
});
