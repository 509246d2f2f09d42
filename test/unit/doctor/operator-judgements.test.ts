import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseHtpasswd } from '../../../src/auth/htpasswd/htpasswd.ts';
import { judgeAdminExposure, judgeReady } from '../../../src/doctor/operator/admin.ts';
import { judgeProblems } from '../../../src/doctor/operator/configuration.ts';
import {
  holdsSecret,
  judgeCaKey,
  judgeConfigMode,
  judgeHtpasswdMode,
  judgeSecret,
} from '../../../src/doctor/operator/file-modes.ts';
import { judgeHtpasswd } from '../../../src/doctor/operator/identity/htpasswd-hashes.ts';
import {
  judgeClockService,
  judgeOpenFiles,
  judgeWorkers,
  parseOpenFiles,
} from '../../../src/doctor/operator/machine.ts';
import { judgeSentence } from '../../../src/doctor/operator/operator-checks.ts';
import {
  judgeEviction,
  judgeMemory,
  judgePersistence,
  judgeRedisLatency,
  judgeVersion,
  parseRedisInfo,
} from '../../../src/doctor/operator/redis-server.ts';
import { judgeRedisExposure } from '../../../src/doctor/operator/redis-exposure.ts';
import { judgeReadable, judgeSpace } from '../../../src/doctor/operator/storage-space.ts';
import { namesOfRoute, namesOfUpstream } from '../../../src/doctor/operator/registry-names.ts';
import { judgeApart, type FoundRegistry } from '../../../src/doctor/operator/routes.ts';
import {
  judgeDeletes,
  judgeExposure,
  judgeMirror,
  judgeUpstream,
} from '../../../src/doctor/operator/upstream.ts';
import { parseListening } from '../../../src/system/listening-table.ts';
import { testJudgements } from '../../support/judgement-table.ts';

const key = (mode: Parameters<typeof judgeSecret>[3]) => judgeSecret('files.key', 'TLS key', 'k', mode);
testJudgements('modes of files', [
  ['a key for its owner', key(0o600), 'ok'],
  ['a key for its group', key(0o640), 'ok'],
  ['a key for all to read', key(0o644), 'broken', /read by every user.*chmod o= k/],
  ['a key for all to write', key(0o602), 'broken', /changed by every user/],
  ['no key', key(null), 'skipped'],
  ['a key that cannot be looked at', key({ failure: 'EACCES' }), 'skipped', /run it as root/],
  ['no CA key', judgeCaKey('ca.key', null), 'ok', /not on this server/],
  ['a CA key', judgeCaKey('ca.key', 0o600), 'ok', /keep ca\.key elsewhere/],
  ['a CA key for all', judgeCaKey('ca.key', 0o644), 'broken'],
  ['htpasswd for its group', judgeHtpasswdMode('h', 0o640), 'ok'],
  ['htpasswd for all to read', judgeHtpasswdMode('h', 0o644), 'warning', /chmod 640 h/],
  ['htpasswd for all to write', judgeHtpasswdMode('h', 0o606), 'broken', /add themselves/],
  ['a configuration for all to read', judgeConfigMode('c', 0o644, false), 'ok'],
  ['a configuration for all to write', judgeConfigMode('c', 0o666, false), 'broken'],
  ['a password for all to read', judgeConfigMode('c', 0o644, true), 'broken', /_env:NAME/],
  ['a password for the group', judgeConfigMode('c', 0o640, true), 'ok'],
]);

describe('holdsSecret', () => {
  const text = 'upstream:\n  username: u\n  password: x\ncache:\n  redis: { password: _env:PW }\n';
  const cases: [(string | undefined)[], boolean][] = [
    [['tidegate.yml:3'], true],
    [['tidegate.yml:5'], false],
    [['tidegate.yml:5', 'tidegate.yml:3'], true],
    [['TIDEGATE_UPSTREAM_PASSWORD'], false],
    [['--set', undefined], false],
  ];
  for (const [places, expected] of cases) {
    it(`${places.join()}: ${expected}`, () => assert.equal(holdsSecret(text, places), expected));
  }
});

describe('judgeHtpasswd', () => {
  const bcrypt = (cost: string) => `$2y$${cost}$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm`;
  const judge = (text: string) =>
    judgeHtpasswd('h', parseHtpasswd(text, { maxBcryptCost: 14, maxShaCryptRounds: 500_000 }));
  const states = (text: string) => judge(text).map(({ state }) => state);

  it('takes costly hashes for good', () => {
    const crypt = (length: number) => `$6$saltstring$${'a'.repeat(length)}`;
    assert.deepEqual(states(`a:${bcrypt('10')}\nb:${crypt(86)}\n`), ['ok', 'ok', 'ok']);
    assert.deepEqual(states(`a:${bcrypt('10')}\nb:${crypt(85)}\n`), ['ok', 'ok', 'warning']);
  });

  it('names apr1, {SHA} and cheap bcrypt', () => {
    const text = [
      `a:${bcrypt('09')}`,
      'b:$apr1$HGyqAyzx$KL1zdNmv5j6gW4hCqt.Al0',
      'c:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=',
    ];
    const [, hashes] = judge(text.join('\n'));
    assert.equal(hashes?.state, 'warning');
    assert.match(
      hashes.what,
      /of a \(line 1, bcrypt of cost 9\), b \(line 2, apr1\), c \(line 3, \{SHA\}\) are weak/,
    );
  });

  it('names lines over the limit, of other kinds, and the absence of users', () => {
    const found = judge(`a:${bcrypt('15')}\nb:secret\n`);
    assert.deepEqual(
      found.map(({ state }) => state),
      ['broken', 'ok', 'warning'],
    );
    assert.match(found[2]?.what ?? '', /line 1: its bcrypt cost 15 is over the limit of 14; line 2: /);
    assert.doesNotMatch(JSON.stringify(found), /secret/);
  });

  it('names a few of many, and no control characters', () => {
    const many = Array.from({ length: 9 }, (_, i) => `u\u001B${i}:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=`);
    const [, hashes] = judge(many.join('\n'));
    assert.match(hashes?.what ?? '', /, and 4 more are weak/);
    assert.doesNotMatch(JSON.stringify(hashes), /\\u001b/i);
  });
});

describe('parseListening', () => {
  // As /proc/net/tcp and tcp6 have it: port 5000 is 1388, state 0A is LISTEN.
  const line = (local: string, state = '0A') =>
    `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0`;
  const addressesIn = (text: string) => parseListening(text, 5000).map(({ address }) => address);
  const cases: [string, string[]][] = [
    [line('0100007F:1388'), ['127.0.0.1']],
    [line('00000000:1388'), ['0.0.0.0']],
    [line('020200C0:1388'), ['192.0.2.2']],
    [line('00000000000000000000000000000000:1388'), ['::']],
    [line('00000000000000000000000001000000:1388'), ['::1']],
    [line('B80D0120000000000000000001000000:1388'), ['2001:db8::1']],
    [line('0000000000000000FFFF00000100007F:1388'), ['127.0.0.1']],
    [line('0100007F:1389'), []],
    [line('0100007F:1388', '01'), []],
    ['  sl  local_address rem_address   st', []],
    ['', []],
  ];
  it('says whose a socket is, and which', () => {
    const row =
      '  32: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 3141592 1 0000000000000000 100 0 0 10 0';
    assert.deepEqual(parseListening(row, 5000), [{ address: '127.0.0.1', uid: 1001, inode: '3141592' }]);
  });
  for (const [text, expected] of cases) {
    it(text.trim().slice(0, 50) || 'nothing', () => assert.deepEqual(addressesIn(text), expected));
  }
});

const config = { url: 'http://127.0.0.1:5000', username: null };
const said = (status: number, headers = {}) => ({ status, headers, ms: 1 });
const version = { 'docker-distribution-api-version': 'registry/2.0' };
testJudgements('judgeUpstream and judgeDeletes', [
  ['a registry', judgeUpstream(config, said(200, version)), 'ok'],
  ['something else', judgeUpstream(config, said(200)), 'warning'],
  ['one with a password', judgeUpstream(config, said(401, version)), 'broken', /upstream\.username: NAME/],
  ['one with another password', judgeUpstream({ ...config, username: 'u' }, said(401)), 'broken', /refuses/],
  ['404', judgeUpstream(config, said(404)), 'broken'],
  ['deletes', judgeDeletes({ status: 404 }), 'ok'],
  ['deletes nothing', judgeDeletes({ status: 405 }), 'ok', /storage\.delete\.enabled: true/],
  ['who knows', judgeDeletes({ status: 500 }), 'skipped'],
]);

const outer = (status: number, isRegistry = true) => [{ address: '192.0.2.2', status, isRegistry }];
const hub = namesOfRoute('hub');
testJudgements('of a route', [
  [
    'one with a password',
    judgeUpstream(config, said(401, version), hub),
    'broken',
    /→ routes: hub: upstream\.username: NAME and routes: hub: upstream\.password: _env:/,
  ],
  ['another place', judgeUpstream(config, said(404), hub), 'broken', /is routes: hub: upstream\.url right/],
  [
    'its files',
    judgeReadable('/r', 'ENOENT', 'x', hub.key('storage')),
    'warning',
    /→ routes: hub: upstream\.storage: /,
  ],
  ['proxy mode', judgeMirror({ status: 405, headers: {} }, { readOnly: true }, hub), 'ok'],
  [
    'proxy mode, not read-only',
    judgeMirror({ status: 405, headers: {} }, { readOnly: false }, hub),
    'ok',
    /routes: hub: readOnly: true/,
  ],
  [
    'read-only, as deploy/mirror.sh serves while the source is away',
    judgeMirror(
      { status: 405, headers: { allow: 'GET, HEAD', 'content-type': 'text/plain; charset=utf-8' } },
      { readOnly: true },
      hub,
    ),
    'warning',
    /fetches nothing.* → .*journalctl -u tidegate-mirror@hub/s,
  ],
  [
    'no proxy mode',
    judgeMirror({ status: 400, headers: {} }, { readOnly: true }, hub),
    'ok',
    /proxy\.remoteurl/,
  ],
  [
    'no proxy mode, by the specification',
    judgeMirror({ status: 404, headers: {} }, { readOnly: true }, hub),
    'ok',
    /proxy\.remoteurl/,
  ],
  ['who may only pull', judgeMirror({ status: 403, headers: {} }, { readOnly: true }, hub), 'skipped'],
]);

const found = (
  names: FoundRegistry['names'],
  url: string,
  address: string | null,
  storage: string | null = null,
) => ({
  names,
  url,
  address,
  storage,
});
const own = found(namesOfUpstream, 'http://localhost:5000', '127.0.0.1, port 5000', '/srv/own');
testJudgements('judgeApart', [
  [
    'two places',
    judgeApart([own, found(hub, 'http://127.0.0.1:5001', '127.0.0.1, port 5001', '/srv/hub')]),
    'ok',
  ],
  [
    'one place under two URLs',
    judgeApart([own, found(hub, 'http://127.0.0.1:5000', '127.0.0.1, port 5000')]),
    'warning',
    /remove one/,
  ],
  [
    'one folder by two paths',
    judgeApart([own, found(hub, 'http://127.0.0.1:5001', '127.0.0.1, port 5001', '/srv/own')]),
    'warning',
    /upstream\.storage and routes: hub: upstream\.storage|routes: hub: upstream\.storage and upstream\.storage/,
  ],
  [
    'two names at one address, which a proxy may tell apart',
    judgeApart([
      found(namesOfUpstream, 'https://a.example', '192.0.2.1, port 443'),
      found(hub, 'https://b.example', '192.0.2.1, port 443'),
    ]),
    'ok',
  ],
  [
    'names that do not resolve',
    judgeApart([found(namesOfUpstream, 'http://a', null), found(hub, 'http://10.0.0.1', null)]),
    'ok',
  ],
]);

testJudgements('judgeExposure', [
  ['loopback alone', judgeExposure(config.url, ['127.0.0.1', '::1'], []), 'ok'],
  [
    'open',
    judgeExposure(config.url, ['0.0.0.0'], outer(200)),
    'broken',
    /at 192\.0\.2\.2.*127\.0\.0\.1:PORT/,
  ],
  ['open to 503', judgeExposure(config.url, null, outer(503)), 'broken'],
  ['with a password', judgeExposure(config.url, ['0.0.0.0'], outer(401)), 'warning'],
  [
    'another program at the outer address',
    judgeExposure(config.url, ['127.0.0.1', '192.0.2.2'], outer(404, false)),
    'ok',
  ],
  ['bound to all, not reached', judgeExposure(config.url, ['0.0.0.0'], []), 'warning'],
  ['a system that does not tell', judgeExposure(config.url, null, []), 'ok'],
  ['nothing there', judgeExposure(config.url, [], []), 'skipped'],
]);

const megabyte = 1024 ** 2;
const info = (bytes: number, policy: string) =>
  parseRedisInfo(`# Memory\r\nmaxmemory:${bytes}\r\nmaxmemory_policy:${policy}\r\n`);
const memory = (bytes: number) => judgeMemory(info(bytes, 'x'), 64 * megabyte);
const nothing = parseRedisInfo('');
const persistence = (text: string) => judgePersistence(parseRedisInfo(text));
testJudgements('Redis', [
  [
    'version 7',
    judgeVersion(parseRedisInfo('# Server\r\nredis_version:7.0.15\r\n')),
    'ok',
    /Redis 7\.0\.15\./,
  ],
  ['version 5', judgeVersion(parseRedisInfo('redis_version:5.0.3\n')), 'warning'],
  ['no version', judgeVersion(nothing), 'skipped'],
  ['enough memory', memory(160 * megabyte), 'ok'],
  ['too little', memory(100 * megabyte), 'warning', /maxmemory 128mb/],
  ['without limit', memory(0), 'ok', /maxmemory 128mb/],
  ['no word about memory', judgeMemory(nothing, 1), 'skipped'],
  ['allkeys-lru', judgeEviction(info(1, 'allkeys-lru')), 'warning', /locks of immutable tags.*noeviction/],
  ['allkeys-lru without a limit', judgeEviction(info(0, 'allkeys-lru')), 'ok'],
  ['volatile-lru', judgeEviction(info(1, 'volatile-lru')), 'warning'],
  ['noeviction with a limit', judgeEviction(info(1, 'noeviction')), 'ok'],
  ['noeviction without', judgeEviction(info(0, 'noeviction')), 'ok'],
  ['allkeys-random', judgeEviction(info(1, 'allkeys-random')), 'warning'],
  ['no word about eviction', judgeEviction(nothing), 'skipped'],
  ['no log', persistence('aof_enabled:0\nrdb_last_bgsave_status:ok\n'), 'ok'],
  ['a log', persistence('aof_enabled:1\n'), 'ok', /appendonly no/],
  ['a full disk', persistence('aof_enabled:0\nrdb_last_bgsave_status:err\n'), 'warning', /refuse writes/],
  ['no word about the disk', judgePersistence(nothing), 'skipped'],
  ['fast', judgeRedisLatency([0.2, 1, 300], 100), 'ok'],
  ['half of the time', judgeRedisLatency([1, 60, 61], 100), 'warning'],
  ['out of reach', judgeRedisExposure(new Map()), 'ok', /cannot be reached/],
  [
    'open to the network',
    judgeRedisExposure(new Map([['192.0.2.2', '+PONG\r\n']])),
    'broken',
    /can change what a tag pulls/,
  ],
  ['with a password', judgeRedisExposure(new Map([['192.0.2.2', '-NOAUTH no\r\n']])), 'ok', /not without/],
  ['too slow', judgeRedisLatency([1, 120, 130], 100), 'broken', /it is not used/],
]);

const gibibyte = 1024 ** 3;
const space = (free: number, all: number, freeFiles = 50, files = 100) =>
  judgeSpace('/s', { freeBytes: free * gibibyte, bytes: all * gibibyte, freeFiles, files });
testJudgements('judgeSpace and judgeReadable', [
  ['half', space(50, 100), 'ok'],
  ['little of a large disk', space(50, 1000), 'ok'],
  ['little', space(5, 100), 'warning'],
  ['nearly nothing', space(0.2, 100), 'broken', /pushes fail/],
  ['no files', space(50, 100, 0), 'broken', /No more files/],
  ['few files', space(50, 100, 4), 'warning'],
  ['a file system that counts none', space(50, 100, 0, 0), 'ok'],
  ['readable', judgeReadable('/s', null), 'ok', /sudo -u tidegate/],
  ['nothing there', judgeReadable('/s', 'ENOENT'), 'warning', /upstream\.storage/],
  ['no right', judgeReadable('/s', 'EACCES'), 'warning', /SupplementaryGroups/],
]);

const machine = (
  workers: number,
  connections = 10_000,
  maxBytes = 64 * megabyte,
  driver: 'memory' | 'off' = 'memory',
) =>
  ({
    workers,
    limits: { connections },
    cache: { driver, maxBytes, maxEntryBytes: 4 * megabyte },
  }) as Parameters<typeof judgeWorkers>[0];
testJudgements('the machine', [
  ['enough files', judgeOpenFiles(65_536, machine(1)), 'ok'],
  ['files without limit', judgeOpenFiles(Infinity, machine(1)), 'ok'],
  ['too few files', judgeOpenFiles(20_199, machine(1)), 'warning', /LimitNOFILE=20200/],
  ['just enough for each of two', judgeOpenFiles(10_200, machine(2)), 'ok'],
  ['no word about files', judgeOpenFiles(null, machine(1)), 'skipped'],
  ['as many workers as cores', judgeWorkers(machine(4), 4), 'ok'],
  ['far more workers than cores', judgeWorkers(machine(9), 4), 'warning', /workers: auto/],
  [
    'a cache too small to share',
    judgeWorkers(machine(4, 1, 8 * megabyte), 4),
    'warning',
    /cache\.maxBytes: 16MiB/,
  ],
  ['no cache to share', judgeWorkers(machine(4, 1, 8 * megabyte, 'off'), 4), 'ok'],
  ['a clock that is kept', judgeClockService('chrony'), 'ok', /chrony/],
  ['a clock of which nothing is known', judgeClockService(null), 'skipped'],
]);

describe('parseOpenFiles', () => {
  it('reads the hard limit', () => {
    const line = (hard: string) =>
      `Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 ${hard}    files\n`;
    assert.equal(parseOpenFiles(line('524288')), 524_288);
    assert.equal(parseOpenFiles(line('unlimited')), Infinity);
    assert.equal(parseOpenFiles(''), null);
  });
});

const admin = { host: '127.0.0.1', port: 9090 };
const body = (text: string) => Buffer.from(text);
testJudgements('the admin listener', [
  ['ready', judgeReady(admin, { status: 200, body: body('{}') }), 'ok'],
  [
    'not ready',
    judgeReady(admin, { status: 503, body: body('{"upstream":"down"}') }),
    'broken',
    /"upstream":"down"/,
  ],
  ['something else', judgeReady(admin, { status: 404, body: body('') }), 'warning', /another program/],
  ['not there', judgeReady(admin, 'nothing listens there'), 'warning', /nothing listens there/],
  ['loopback alone', judgeAdminExposure(admin, { bound: ['127.0.0.1'], reached: [] }), 'ok'],
  [
    'open and not meant so',
    judgeAdminExposure(admin, { bound: ['0.0.0.0'], reached: ['192.0.2.2'] }),
    'broken',
  ],
  [
    'open and meant so',
    judgeAdminExposure({ ...admin, host: '0.0.0.0' }, { bound: null, reached: ['192.0.2.2'] }),
    'warning',
    /firewall/,
  ],
]);

testJudgements('sentences of others', [
  [
    'problems of a configuration',
    judgeProblems('a: b\nc: d', 'x.yml'),
    'broken',
    /has 2 problems: a: b \| c: d\. → .*--config x\.yml/,
  ],
  [
    'a problem that is a sentence of its own',
    judgeProblems('The file does not exist: name another.', undefined),
    'broken',
    /has 1 problem: The file does not exist: name another\. → /,
  ],
  [
    'many problems',
    judgeProblems(Array.from({ length: 8 }, (_, i) => `p${i}`).join('\n'), undefined),
    'broken',
    /and 3 more\./,
  ],
  [
    'a sentence with its mend',
    judgeSentence('x', 'c.crt has expired on Jan 1 10:00:00: renew it.'),
    'broken',
    /^c\.crt has expired on Jan 1 10:00:00\. → renew it$/,
  ],
  [
    'a sentence that begins with a file',
    judgeSentence('x', 'c.crt: certificate 1 of 2 is damaged.'),
    'broken',
    /^c\.crt: certificate 1 of 2 is damaged\./,
  ],
]);
