import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { describe, it } from 'node:test';
import {
  judgePort,
  judgeResolution,
  type Resolution,
} from '../../../src/doctor/client/connection/addresses.ts';
import { judgeDelete, judgePush, judgeRead } from '../../../src/doctor/client/blob.ts';
import {
  explainStatus,
  judgeAnonymous,
  judgeDockerChallenge,
  judgeNamelessChallenge,
  judgePlainCheck,
  judgeRightPassword,
  judgeWrongPassword,
  type VersionCheck,
} from '../../../src/doctor/client/challenge.ts';
import { judgePlainHttp } from '../../../src/doctor/client/connection/plain-http.ts';
import {
  chooseTarget,
  formatAuthority,
  parseTarget,
  type Target,
} from '../../../src/doctor/client/target.ts';
import { judgeToken } from '../../../src/doctor/client/token.ts';
import { judgeClock, judgeKeepAlive, judgeLatency } from '../../../src/doctor/client/timing.ts';
import {
  judgeCancel,
  judgeChunked,
  judgeLocation,
  judgeStatus,
  judgeStreaming,
} from '../../../src/doctor/client/upload.ts';
import { parseServerName } from '../../../src/tls/server-name.ts';
import { testJudgements } from '../../support/judgement-table.ts';

const answer = (status: number, headers: IncomingHttpHeaders = {}) => ({ status, headers });

describe('explainStatus', () => {
  it('tells a registry that hides a repository from none', () => {
    const hidden = explainStatus(answer(404, { 'docker-distribution-api-version': 'registry/2.0' }));
    assert.match(hidden.what, /no such repository for this user/);
    assert.match(hidden.fix, /--repository/);
    assert.match(explainStatus(answer(404)).what, /no registry there/);
  });
});

describe('parseTarget', () => {
  const right: [string, string, string][] = [
    ['https://reg.example.com', 'reg.example.com', '443'],
    ['https://Reg.Example.com/', 'reg.example.com', '443'],
    ['https://reg.example.com:8443', 'reg.example.com:8443', '8443'],
    ['https://192.0.2.1:443', '192.0.2.1', '443'],
    ['https://[2001:DB8:0::1]:8443/', '[2001:db8::1]:8443', '8443'],
  ];
  for (const [url, authority, port] of right) {
    it(`reads ${url}`, () => {
      const target = parseTarget(url);
      assert.deepEqual([formatAuthority(target), String(target.port)], [authority, port]);
    });
  }
  for (const url of [
    '',
    'reg.example.com',
    'http://reg',
    'https://',
    'https://a b',
    'https://a:0',
    'https://a?x',
    'https://u@a',
    'https://[a]',
  ]) {
    it(`refuses ${JSON.stringify(url)}`, () =>
      assert.throws(() => parseTarget(url), { name: 'OperatorError' }));
  }
});

describe('chooseTarget', () => {
  const choose = (names: string[], listen = { host: '::', port: 8443 }) => {
    const target = chooseTarget(names.map(parseServerName), listen);
    return target === null ? null : `${formatAuthority(target)} ${target.fallbackAddress ?? ''}`;
  };
  const cases: [string[], string | null][] = [
    [['localhost', '127.0.0.1', 'reg.example.com'], 'reg.example.com:8443 127.0.0.1'],
    [['localhost', '127.0.0.1', '192.0.2.1'], '192.0.2.1:8443 127.0.0.1'],
    [['localhost', '127.0.0.1'], 'localhost:8443 127.0.0.1'],
    [['*.example.com'], null],
    [[], null],
  ];
  for (const [names, expected] of cases)
    it(names.join() || 'none', () => assert.equal(choose(names), expected));
  it('needs a fixed port, and looks where it listens', () => {
    assert.equal(choose(['a.example'], { host: '::', port: 0 }), null);
    assert.equal(choose(['a.example'], { host: '192.0.2.7', port: 443 }), 'a.example 192.0.2.7');
  });
});

const target = parseTarget('https://reg.example.com:8443');
const resolved = (url: string, resolution: Resolution, fallbackAddress: string | null = null) =>
  judgeResolution({ ...parseTarget(url), fallbackAddress } satisfies Target, resolution);
const at = (...addresses: string[]) => ({ addresses });

testJudgements('judgeResolution', [
  ['an address', resolved('https://192.0.2.1', at('192.0.2.1')), 'ok', /nothing to look up/],
  ['one address', resolved('https://a.example', at('192.0.2.1')), 'ok', /a\.example is 192\.0\.2\.1/],
  ['localhost', resolved('https://localhost', at('127.0.0.1', '::1')), 'ok'],
  [
    'this machine’s own name',
    resolved('https://a.example', at('127.0.1.1')),
    'ok',
    /only on this machine.*run tidegate doctor https:\/\/a\.example/,
  ],
  [
    'loopback and others',
    resolved('https://a.example', at('127.0.1.1', '192.0.2.1')),
    'warning',
    /clients may use either/,
  ],
  [
    'nothing',
    resolved('https://a.example', { failure: 'the name does not resolve' }),
    'broken',
    /does not resolve/,
  ],
  [
    'nothing, but it is known where it listens',
    resolved('https://a.example', { failure: 'x' }, '127.0.0.1'),
    'warning',
    /127\.0\.0\.1 is asked/,
  ],
]);

const reach = (...pairs: [string, string | null][]) => judgePort(443, new Map(pairs));
testJudgements('judgePort', [
  ['all', reach(['::1', null], ['127.0.0.1', null]), 'ok'],
  [
    'some',
    reach(['::1', 'nothing listens there'], ['127.0.0.1', null]),
    'warning',
    /::1: nothing listens there/,
  ],
  ['none', reach(['127.0.0.1', 'nothing listens there']), 'broken', /nothing listens there/],
]);

testJudgements('judgePlainHttp', [
  ['silence', judgePlainHttp(''), 'ok'],
  ['a TLS alert', judgePlainHttp('\u0015\u0003\u0003'), 'ok'],
  ['400', judgePlainHttp('HTTP/1.1 400 Bad Request\r\n\r\n'), 'ok', /400/],
  ['a redirect', judgePlainHttp('HTTP/1.1 301 Moved\r\n\r\n'), 'ok'],
  ['200', judgePlainHttp('HTTP/1.1 200 OK\r\n\r\n'), 'broken'],
  ['a challenge in clear', judgePlainHttp('HTTP/1.0 401 No\r\n\r\n'), 'broken', /in clear/],
]);

const judgeDocker = (asked: ReturnType<typeof answer>) => judgeDockerChallenge(asked, 'reg.example.com:8443');
const tokenChallenge = (realm: string) => ({
  ...challenge,
  'www-authenticate': `Bearer realm="${realm}",service="Registry"`,
});
const challenge = {
  'www-authenticate': 'Basic realm="Registry"',
  'docker-distribution-api-version': 'registry/2.0',
};
testJudgements('judgeDockerChallenge', [
  ['the challenge', judgeDocker(answer(401, challenge)), 'ok'],
  ['without the version', judgeDocker(answer(401, { 'www-authenticate': 'Basic realm="R"' })), 'warning'],
  ['without a challenge', judgeDocker(answer(401)), 'broken', /no WWW-Authenticate/],
  [
    'a token',
    judgeDocker(answer(401, { ...challenge, 'www-authenticate': 'Bearer realm="x"' })),
    'broken',
    /Bearer/,
  ],
  [
    'a token from here',
    judgeDocker(answer(401, tokenChallenge('https://reg.example.com:8443/token'))),
    'ok',
    /Bearer/,
  ],
  [
    'a token from elsewhere',
    judgeDocker(answer(401, tokenChallenge('https://evil.example/token'))),
    'broken',
    /send its password to https:\/\/evil\.example/,
  ],
  [
    'a token without TLS',
    judgeDocker(answer(401, tokenChallenge('http://reg.example.com:8443/token'))),
    'broken',
    /http:/,
  ],
  ['200', judgeDocker(answer(200)), 'broken', /versionCheck: auto/],
  ['404', judgeDocker(answer(404)), 'broken', /no registry there/],
  ['429', judgeDocker(answer(429, { 'retry-after': '60' })), 'broken', /wait 60 seconds/],
]);

const nameless = (status: number, docker: number) => judgeNamelessChallenge(answer(status), answer(docker));
testJudgements('judgeNamelessChallenge', [
  ['401', nameless(401, 401), 'ok', /auth\.openAgents/],
  ['200 where Docker is asked', nameless(200, 401), 'warning', /its login accepts any/],
  ['200 where Docker is not asked either', nameless(200, 200), 'skipped'],
  ['502', nameless(502, 502), 'skipped'],
]);

const plain = (status: number, mode: VersionCheck | null) => judgePlainCheck(answer(status), mode);
testJudgements('judgePlainCheck', [
  ['200 under auto', plain(200, 'auto'), 'ok'],
  ['401 under auto', plain(401, 'auto'), 'warning'],
  ['200 under open', plain(200, 'open'), 'ok'],
  ['401 under challenge', plain(401, 'challenge'), 'ok'],
  ['200 under challenge', plain(200, 'challenge'), 'warning'],
  ['200 under what is not known', plain(200, null), 'ok'],
  ['401 under what is not known', plain(401, null), 'ok'],
  ['502', plain(502, 'auto'), 'broken', /registry behind does not answer/],
  ['503', plain(503, null), 'broken', /stopping, or overloaded/],
]);

testJudgements('judgeAnonymous', [
  ['401', judgeAnonymous(answer(401), false), 'ok'],
  ['200', judgeAnonymous(answer(200), false), 'broken'],
  ['404', judgeAnonymous(answer(404), false), 'broken', /without a password/],
  ['502', judgeAnonymous(answer(502), false), 'warning'],
  ['200, as a policy may say', judgeAnonymous(answer(200), true), 'warning', /can be read/],
  ['401, with tokens', judgeAnonymous(answer(401), true), 'ok'],
]);

testJudgements('judgeWrongPassword', [
  ['401', judgeWrongPassword(answer(401)), 'ok'],
  ['429', judgeWrongPassword(answer(429)), 'skipped', /too many wrong passwords/],
  ['404', judgeWrongPassword(answer(404)), 'broken', /is accepted/],
  ['200', judgeWrongPassword(answer(200)), 'broken'],
  ['503', judgeWrongPassword(answer(503)), 'warning'],
]);

const right = (version: number, tags: number) => judgeRightPassword('alice', answer(version), answer(tags));
testJudgements('judgeRightPassword', [
  ['200 and no such repository', right(200, 404), 'ok'],
  ['200 and a repository', right(200, 200), 'ok'],
  ['401', right(401, 401), 'broken', /user verify alice/],
  ['200, and a policy that says no', right(200, 403), 'ok'],
  ['200 unchecked, and 401', right(200, 401), 'broken', /refused/],
  ['502', right(502, 502), 'broken', /registry behind/],
  ['429', right(429, 429), 'broken', /too many wrong passwords/],
]);

const trial = (token: number, use: number | null, headers: IncomingHttpHeaders = {}) =>
  judgeToken('alice', { token: answer(token), use: use === null ? null : answer(use, headers) });
testJudgements('judgeToken', [
  ['taken', trial(200, 200), 'ok', /and so is the token/],
  ['taken, and no such repository', trial(200, 404), 'ok'],
  ['taken, and not allowed', trial(200, 403), 'ok'],
  ['not given', trial(404, null), 'broken', /request for a token is answered with 404/],
  ['not taken', trial(200, 401, tokenChallenge('https://a/token')), 'broken', /auth\.tokenKeys/],
]);

describe('judgeLocation', () => {
  const cases: [string | undefined, string, string | null][] = [
    [
      'https://reg.example.com:8443/v2/x/blobs/uploads/1?_state=a%2Fb',
      'ok',
      '/v2/x/blobs/uploads/1?_state=a%2Fb',
    ],
    ['/v2/x/blobs/uploads/1', 'ok', '/v2/x/blobs/uploads/1'],
    ['http://reg.example.com:8443/v2/u', 'broken', '/v2/u'],
    ['https://reg.example.com/v2/u', 'broken', '/v2/u'],
    ['http://127.0.0.1:5000/v2/u', 'broken', '/v2/u'],
    [undefined, 'broken', null],
    ['https://[', 'broken', null],
  ];
  for (const [location, state, path] of cases) {
    it(`${location ?? 'none'}: ${state}`, () => {
      const judged = judgeLocation(location, target);
      assert.deepEqual([judged.finding.state, judged.path], [state, path]);
    });
  }
  it('leaves out the port of https', () => {
    const standard = parseTarget('https://reg.example.com');
    assert.equal(judgeLocation('https://reg.example.com:443/v2/u', standard).finding.state, 'ok');
    assert.equal(judgeLocation('https://reg.example.com/v2/u', standard).finding.state, 'ok');
  });
});

const last = 2 * 1024 * 1024 + 16 * 1024 - 1;
const whole = { range: `0-${last}` };
testJudgements('judgeChunked', [
  ['all of it', judgeChunked(answer(202, whole)), 'ok'],
  ['one byte too few', judgeChunked(answer(202, { range: `0-${last - 1}` })), 'broken'],
  ['no Range', judgeChunked(answer(202)), 'broken', /no Range/],
  ['413', judgeChunked(answer(413, { server: 'nginx' })), 'broken', /by "nginx".*client_max_body_size 0/],
  ['411', judgeChunked(answer(411)), 'broken', /proxy_http_version/],
  ['500', judgeChunked(answer(500)), 'broken'],
]);

testJudgements('judgeStatus', [
  ['right', judgeStatus(answer(204, whole)), 'ok'],
  ['wrong Range', judgeStatus(answer(204, { range: '0-0' })), 'warning'],
  ['404', judgeStatus(answer(404)), 'broken'],
]);

testJudgements('judgeCancel', [
  ['gone', judgeCancel(answer(204), answer(404), true), 'ok'],
  ['still there', judgeCancel(answer(204), answer(204), true), 'warning'],
  ['not deleted', judgeCancel(answer(405), answer(204), true), 'warning'],
  ['of one that broke off', judgeCancel(answer(400), answer(400), false), 'skipped'],
]);

testJudgements('judgeStreaming', [
  ['refused at once', judgeStreaming(answer(401)), 'ok'],
  ['nothing', judgeStreaming(null), 'warning', /proxy_request_buffering off/],
  ['another answer', judgeStreaming(answer(404)), 'warning'],
]);

const content = Buffer.from('twelve bytes');
const body = (status: number, text: Buffer, headers: IncomingHttpHeaders = {}) => ({
  status,
  body: text,
  headers,
});
const part = body(206, content.subarray(0, 8));
testJudgements('judgeRead', [
  ['the same', judgeRead(body(200, content), part, content), 'ok'],
  ['other bytes', judgeRead(body(200, Buffer.from('?')), part, content), 'broken', /other bytes/],
  ['no ranges', judgeRead(body(200, content), body(200, content), content), 'warning'],
  [
    'a redirect',
    judgeRead(body(307, content, { location: 'https://s3.example/x?sig=1' }), part, content),
    'skipped',
    /to https:\/\/s3\.example for/,
  ],
  ['404', judgeRead(body(404, content), part, content), 'broken'],
]);

testJudgements('judgePush and judgeDelete', [
  ['taken', judgePush(answer(201, { 'docker-content-digest': 'sha256:a' }), 'sha256:a'), 'ok'],
  ['without digest', judgePush(answer(201), 'sha256:a'), 'warning'],
  ['refused', judgePush(answer(400), 'sha256:a'), 'broken'],
  ['deleted', judgeDelete(answer(202), answer(404)), 'ok'],
  ['still there', judgeDelete(answer(202), answer(200)), 'warning'],
]);

const nowMs = Date.UTC(2026, 0, 1);
const dated = (seconds: number) =>
  judgeClock({ headers: { date: new Date(nowMs + seconds * 1000).toUTCString() }, atMs: nowMs });
testJudgements('judgeClock', [
  ['equal', dated(0), 'ok'],
  ['five minutes less a second', dated(299), 'ok'],
  ['ahead', dated(301), 'warning', /ahead of/],
  ['behind', dated(-302), 'warning', /behind/],
  ['no Date', judgeClock({ headers: {}, atMs: nowMs }), 'skipped'],
]);

testJudgements('judgeLatency and judgeKeepAlive', [
  ['fast', judgeLatency([3, 2, 1, 900, 2]), 'ok', /in 2 ms, at most 900 ms/],
  ['slow', judgeLatency([1200, 1300, 1100]), 'warning'],
  ['kept', judgeKeepAlive([{ isReused: true }, { isReused: true }]), 'ok'],
  ['closed', judgeKeepAlive([{ isReused: true }, { isReused: false }]), 'warning'],
]);
