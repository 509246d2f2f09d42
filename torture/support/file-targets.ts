import assert from 'node:assert/strict';
import { decodeHtpasswd, encodeHtpasswd } from '../../src/auth/htpasswd/htpasswd-text.ts';
import { parseHtpasswd } from '../../src/auth/htpasswd/htpasswd.ts';
import { readSettings } from '../../src/config/load/file-settings.ts';
import { selectFlavor } from '../../src/config/load/flavor.ts';
import { configKeys, topNames } from '../../src/config/schema/key-list.ts';
import { validateSettings } from '../../src/config/load/validate.ts';
import { parseYamlTree } from '../../src/config/load/yaml-tree.ts';
import { OperatorError } from '../../src/system/operator-error.ts';
import { shortenLine } from '../../src/telemetry/log/long-line.ts';
import { printable } from '../../src/telemetry/log/printable.ts';
import { parseProxyHeader } from '../../src/listener/proxy-header.ts';
import { readCertificateList } from '../../src/tls/certificate-list.ts';
import { parseAltNames } from '../../src/tls/server-name.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { anyByte, anyCharacter, characters, damaged, inOrder, oneOf, repeated, usually } from './grammar.ts';

const crypt = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const rounds = oneOf(
  '',
  'rounds=5000$',
  'rounds=999999999$',
  'rounds=500001$',
  'rounds=1$',
  'rounds=01000$',
  'rounds=-1$',
);
const hash = oneOf(
  inOrder(
    '$2',
    characters('aby', 1, 1),
    '$',
    oneOf('04', '10', '14', '15', '31', '32', '99', '3'),
    '$',
    characters(crypt, 53, 53),
  ),
  inOrder('$apr1$', characters(crypt, 0, 9), '$', characters(crypt, 22, 22)),
  inOrder('{SHA}', characters(crypt, 26, 28), '='),
  inOrder('$5$', rounds, characters(crypt, 0, 17), '$', characters(crypt, 43, 43)),
  inOrder('$6$', rounds, characters(crypt, 0, 16), '$', characters(crypt, 86, 86)),
  oneOf('', 'plain', '$1$x$y', 'rKO5Ie5DHVMFM', '$2y$10$short'),
);
const line = oneOf(
  inOrder(
    oneOf('alice', 'bob', 'x y', ' ', '', '\ufeffeve', '__proto__', repeated(anyCharacter, 0, 5)),
    ':',
    hash,
    usually('', 5, ':rest'),
  ),
  inOrder('#', repeated(anyCharacter, 0, 9)),
  oneOf('', '  ', 'alice', ':', '::', 'alice::x'),
);
const limits = { maxBcryptCost: 14, maxShaCryptRounds: 500_000 };
const htpasswd: FuzzTarget = {
  name: 'htpasswd',
  inputs: (random) =>
    Buffer.from(
      damaged(repeated(line, 0, 6, oneOf('\n', '\r\n', '\n\n', '\r')), 2, anyCharacter)(random),
    ).toString('latin1') + damaged(usually('', 4, inOrder('\n', anyByte, ':', hash)), 2)(random),
  perSecond: 70_000,
  check: (input) => {
    const bytes = Buffer.from(Buffer.from(input, 'latin1').filter((byte) => byte !== 0));
    const text = decodeHtpasswd(bytes);
    assert.deepEqual(encodeHtpasswd(text), bytes, 'an edit can keep what it does not touch');
    const { entries, problems } = parseHtpasswd(text, limits);
    const lines = text.split(/\r\n|\n|\r/).map((content) => content.replace(/^\ufeff/, ''));
    const used = new Set<number>();
    for (const [name, entry] of entries) {
      assert.ok(name !== '' && !/[:\r\n]/.test(name));
      assert.ok(!used.has(entry.line));
      used.add(entry.line);
      const trimmed = (lines[entry.line - 1] ?? '').replace(/^[ \t\v\f\r]*/, '');
      assert.ok(trimmed.startsWith(`${name}:`), 'the name is that of its line');
      assert.ok(trimmed.includes(entry.hash));
      const [, cost] = /^\$2.\$(\d\d)\$/.exec(entry.hash) ?? [];
      assert.ok(Number(cost ?? 0) <= 14, entry.hash);
      const [, work] = /^\$[56]\$rounds=(\d+)\$/.exec(entry.hash) ?? [];
      assert.ok(Number(work ?? 1000) <= 500_000 && Number(work ?? 1000) >= 1000, entry.hash);
    }
    for (const problem of problems) {
      assert.ok(!used.has(problem.line));
      used.add(problem.line);
      assert.doesNotMatch(problem.reason, /plain\b(?! text)/);
    }
    // Each line is a user, a problem, a comment or blank.
    const silent = lines.filter((content) => /^[ \t\v\f\r]*(?:#.*)?$/s.test(content)).length;
    assert.equal(used.size + silent, lines.length);
  },
};

const yamlKey = oneOf(
  ...topNames,
  ...[...configKeys.keys()].map((path) => path.slice(path.lastIndexOf('.') + 1)),
  ...[
    '__proto__',
    'constructor',
    'prototype',
    '<<',
    'common',
    'dev',
    'prod',
    '"a"',
    '? x',
    '!!str a',
    '&a b',
    '*a',
    '{}',
    '[a]',
    '',
    'who',
  ],
);
const yamlValue = oneOf(
  ...[
    '443',
    '5s',
    'true',
    'null',
    '~',
    '""',
    '_env:HOME',
    '_env:NOT_SET',
    '_env:X:1',
    '[a, b]',
    '{ a: b }',
    '*a',
    '&a x',
    '&a { b: *a }',
  ],
  ...[
    '!!binary aGk=',
    '!!js/function x',
    '!!python/object:x y',
    '0x10',
    '1e999',
    '.inf',
    '.nan',
    '2001-01-01',
    '|\n  x',
    '>-\n  y',
    "'it''s'",
  ],
  ...[
    '[[[[[[[[[[]]]]]]]]]]',
    '{ __proto__: { polluted: 1 } }',
    '[{ who: [anonymous], repositories: ["**"], actions: [pull] }]',
    '4GiB',
    '-1',
    '*b',
  ],
  ...[
    '{ "__proto__": [x] }',
    '!!map { constructor: { prototype: { polluted: 1 } } }',
    '"\\x00"',
    '"\\u2028"',
    '# x',
    '%',
    '@',
    '`',
  ],
);
const indent = oneOf('', '  ', '    ', '\t', '- ');
const config: FuzzTarget = {
  name: 'configuration',
  inputs: damaged(
    repeated(inOrder(indent, yamlKey, usually(': ', 8, ':'), oneOf(yamlValue, '\n  ')), 0, 12, '\n'),
    3,
  ),
  perSecond: 1200,
  check: (text) => {
    const { root, faults } = parseYamlTree(text);
    for (const { line: at, wrong } of faults) assert.ok(at >= 1 && wrong !== '');
    if (root === undefined) assert.ok(faults.length > 0);
    if (root?.kind !== 'mapping') return;
    const selected = selectFlavor(root, { name: 'dev', by: 'the default', isFlag: false });
    if (selected.document === undefined) {
      assert.ok(selected.faults.length > 0);
      return;
    }
    const { settings, problems } = readSettings(selected.document, 'x.yml', { HOME: '/root' });
    const validated = validateSettings(settings, '/');
    if (validated.config === undefined) assert.ok(validated.problems.length > 0);
    for (const problem of [...problems, ...validated.problems]) assert.ok(problem.wrong !== '');
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
    if (validated.config) assert.deepEqual(Object.keys(validated.config).sort(), [...topNames].sort());
  },
};

const proxyHeader: FuzzTarget = {
  name: 'PROXY header',
  inputs: damaged(
    oneOf(
      inOrder(
        'PROXY ',
        oneOf('TCP4 192.0.2.1 192.0.2.2', 'TCP6 ::1 ::2', 'UNKNOWN', 'TCP4 ::1 ::2'),
        ' ',
        oneOf('1 2', '65536 1', '01 1', '-1 1'),
        oneOf('\r\n', '\n', ''),
      ),
      inOrder(
        '\r\n\r\n\0\r\nQUIT\n',
        oneOf('\x21\x11', '\x20\0', '\x21\x21', '\x22\x11'),
        anyByte,
        anyByte,
        repeated(anyByte, 0, 40),
      ),
      inOrder('\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c', repeated(anyByte, 12, 14)),
    ),
    2,
  ),
  perSecond: 200_000,
  check: (text) => {
    const bytes = Buffer.from(text, 'latin1');
    const read = parseProxyHeader(bytes);
    // What has been decided stays decided, whatever comes behind it; and before its last byte nothing is.
    if (read !== 'incomplete')
      assert.deepEqual(parseProxyHeader(Buffer.concat([bytes, Buffer.from('xyz')])), read);
    if (typeof read !== 'string') {
      assert.ok(read.lengthBytes <= bytes.length);
      assert.equal(parseProxyHeader(bytes.subarray(0, read.lengthBytes - 1)), 'incomplete');
    }
  },
};

const logText: FuzzTarget = {
  name: 'log texts',
  inputs: repeated(
    oneOf(anyCharacter, '\n', '\r', '\x1b[2J', '\u2028', '\u202e', '"', '\\', '\0', characters('ab', 0, 30)),
    0,
    60,
  ),
  perSecond: 25_000,
  check: (text) => {
    const shown = printable(text);
    assert.doesNotMatch(shown, /[\p{Cc}\u2028-\u202e\u2066-\u2069]/u);
    const written = `${JSON.stringify({ msg: text, nested: { text }, list: [text] })}\n`;
    const cut = shortenLine(written, 64);
    assert.ok(Buffer.byteLength(cut) <= Math.max(64, 0) || Buffer.byteLength(written) <= 64, cut);
    assert.equal(cut.indexOf('\n'), cut.length - 1);
    JSON.parse(cut);
  },
};

const altNames: FuzzTarget = {
  name: 'names of certificates',
  inputs: damaged(
    repeated(
      oneOf(
        'DNS:a.example',
        'DNS:"x, DNS:evil"',
        'IP Address:192.0.2.1',
        'IP Address:::1',
        'email:x',
        'DNS:"a\\"b',
        'URI:http://x',
      ),
      0,
      5,
      ', ',
    ),
    2,
  ),
  perSecond: 300_000,
  check: (text) => {
    for (const { kind, value } of parseAltNames(text)) {
      assert.ok(text.toLowerCase().includes(kind === 'dns' ? `dns:${value}` : 'ip address:'));
      assert.ok(!value.includes(','));
    }
  },
};

const pemBody = [
  'MIIBLjCB4aADAgECAhQ+e2KxQZhRnBDFV0D2F7a5eT6ZOzAFBgMrZXAwDDEKMAgG',
  'A1UEAwwBYTAgFw0yNjExMjgxOTE0MzJaGA8yMTI2MTEwNDE5MTQzMlowDDEKMAgG',
  'A1UEAwwBYTAqMAUGAytlcAMhAEy85pN2z/0qFCKhx1x/k8V+t62ynnSgkJBEjyfz',
  'dc5Yo1MwUTAdBgNVHQ4EFgQUTNzcPqYVXGuxm4gO0c4RXV1hauAwHwYDVR0jBBgw',
  'FoAUTNzcPqYVXGuxm4gO0c4RXV1hauAwDwYDVR0TAQH/BAUwAwEB/zAFBgMrZXAD',
  'QQBDW/lbXPhjDBEMVRGrc58rxFv7Hic5RgzSo9j5OOM5l9rcO1XnQglNbgV5Hktl',
  'zDsdG1n6vpRMAaz4e/OE4ugE',
];
const pemLabel = usually(
  'CERTIFICATE',
  9,
  oneOf('X509 CERTIFICATE', 'TRUSTED CERTIFICATE', 'PRIVATE KEY', 'A'),
);
const pemBlock = (body: readonly string[]) =>
  inOrder('-----BEGIN ', pemLabel, '-----\n', body.join('\n'), '\n-----END ', pemLabel, '-----');
const pemFile: FuzzTarget = {
  name: 'PEM files',
  inputs: damaged(
    repeated(
      usually(pemBlock(pemBody), 3, oneOf('# ', 'x', '\xef\xbb\xbf', '\0', pemBlock(['MAA=']))),
      0,
      4,
      oneOf('', '\n', '\r\n', '\r', '\xef\xbb\xbf'),
    ),
    2,
  ),
  perSecond: 2000,
  check: (text) => {
    let list;
    try {
      list = readCertificateList(text, 'x.pem');
    } catch (error) {
      assert.ok(error instanceof OperatorError, String(error));
      return;
    }
    const names = list.certificates.map(({ fingerprint256 }) => fingerprint256);
    // What OpenSSL is given holds the very same, and nothing that would be left out.
    for (const given of [list.chainPem, list.anchorPem]) {
      const again = readCertificateList(given, 'x.pem');
      assert.deepEqual(
        again.certificates.map(({ fingerprint256 }) => fingerprint256),
        names,
      );
      assert.deepEqual(again.warnings, []);
      assert.doesNotMatch(given, /[^\x20-\x7e\n]/);
    }
    // A block that is whole and stands by itself is never lost in silence.
    const whole = text.split(/^-----BEGIN CERTIFICATE-----$/m).length - 1;
    const named = (list.warnings.join().match(/line /g) ?? []).length;
    assert.ok(names.length + named >= Math.min(whole, 1));
  },
};

/** What an operator writes, and what other programs say. */
export const fileTargets: readonly FuzzTarget[] = [htpasswd, config, proxyHeader, logText, altNames, pemFile];
