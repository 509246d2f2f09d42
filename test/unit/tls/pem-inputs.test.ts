import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { OperatorError } from '../../../src/system/operator-error.ts';
import { readCertificateList } from '../../../src/tls/certificate-list.ts';
import { formatPem } from '../../../src/tls/pem-blocks.ts';
import { readPrivateKey } from '../../../src/tls/private-key.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidegate-pem-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);
const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe', cwd: folder });
const read = (name: string) => readFileSync(path(name), 'latin1');

for (const name of ['a', 'b']) {
  openssl(
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '9'],
    ...['-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.crt`],
  );
}
const [a, b, keyA, keyB] = [read('a.crt'), read('b.crt'), read('a.key'), read('b.key')];
openssl('x509', '-in', 'a.crt', '-trustout', '-addtrust', 'serverAuth', '-out', 'trusted.pem');
openssl('x509', '-in', 'a.crt', '-outform', 'der', '-out', 'a.der');
openssl('pkey', '-in', 'a.key', '-outform', 'der', '-out', 'key.der');
openssl('crl2pkcs7', '-nocrl', '-certfile', 'a.crt', '-out', 'p7.pem');
openssl('crl2pkcs7', '-nocrl', '-certfile', 'a.crt', '-outform', 'der', '-out', 'p7.der');
openssl(...['pkcs12', '-export', '-in', 'a.crt', '-inkey', 'a.key', '-passout', 'pass:x', '-out', 'a.p12']);
openssl('req', '-new', '-key', 'a.key', '-subj', '/CN=a', '-out', 'a.csr');
openssl('x509', '-in', 'a.crt', '-text', '-out', 'text.pem');
openssl(...['ec', '-in', 'a.key', '-aes128', '-passout', 'pass:x', '-out', 'old-encrypted.key']);
const bom = '\xef\xbb\xbf';
const lines = a.trimEnd().split('\n');
const utf16 = (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le').toString('latin1');
const glued = a.trimEnd() + b;
const lineOf = (text: string) => text.split('\n').length; // of what is appended to it

type Outcome = { readonly used: string; readonly warning?: RegExp } | { readonly refused: RegExp };
const certificateCases: readonly (readonly [what: string, text: string, outcome: Outcome])[] = [
  ['one certificate', a, { used: 'a' }],
  ['two', a + b, { used: 'a b' }],
  ['a byte order mark before each of two', bom + a + bom + b, { used: 'a b' }],
  ['two glued without a line break', glued, { used: 'a b' }],
  ['the same with BOMs between them', a.trimEnd() + bom + b, { used: 'a b' }],
  ['CR LF', (a + b).replaceAll('\n', '\r\n'), { used: 'a b' }],
  ['CR alone', (a + b).replaceAll('\n', '\r'), { used: 'a b' }],
  ['no line break at the end', glued.trimEnd(), { used: 'a b' }],
  ['everything on one line', (a + b).replaceAll('\n', ''), { used: 'a b' }],
  ['indented, as in YAML', (a + b).replaceAll(/^/gm, '    '), { used: 'a b' }],
  ['spaces behind the lines', (a + b).replaceAll('\n', ' \t\n'), { used: 'a b' }],
  ['what openssl x509 -text writes', read('text.pem') + b, { used: 'a b' }],
  ['text in any encoding', `subject=CN = K\xe4se\n${a}K\xc3\xa4se${b}`, { used: 'a b' }],
  ['the label of old', a.replaceAll(' CERTIFICATE', ' X509 CERTIFICATE'), { used: 'a' }],
  ['headers within', a.replace('\n', '\nX-Note: x\n y\n\n'), { used: 'a' }],
  ['a trusted certificate', read('trusted.pem') + b, { used: 'a b' }],
  ['one in comments', `${a.replaceAll(/^/gm, '# ')}\n  #${b.replaceAll('\n', '\n#')}\n${b}`, { used: 'b' }],

  [
    'the same one twice',
    a + b + a,
    { used: 'a b', warning: new RegExp(`line ${lineOf(a + b)}, the same certificate as on line 1`) },
  ],
  [
    'a private key',
    a + keyA,
    { used: 'a', warning: new RegExp(`: not used: line ${lineOf(a)}, a private key\\.$`) },
  ],
  ['a request', read('a.csr') + a, { used: 'a', warning: /line 1, a certificate request/ }],
  ['PKCS#7', a + read('p7.pem'), { used: 'a', warning: new RegExp(`line ${lineOf(a)}, PKCS#7`) }],
  [
    'a revocation list',
    `${a}-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n`,
    { used: 'a', warning: /a revocation list, which is not used/ },
  ],
  [
    'something unknown',
    `${a}-----BEGIN A\x1bB-----\nMAA=\n-----END A\x1bB-----`,
    { used: 'a', warning: /another kind \(A\?B\)/ },
  ],
  [
    'another kind that was cut off',
    `${a}-----BEGIN DH PARAMETERS-----\nMAA=`,
    { used: 'a', warning: /it has no END line/ },
  ],
  ['many others', a + keyA.repeat(30), { used: 'a', warning: /; and 20 more\.$/ }],

  [
    'nothing',
    '',
    { refused: /x\.pem holds no certificate in PEM form \(the file is empty\): name another\.$/ },
  ],
  ['nothing but a BOM', `${bom}\n`, { refused: /it has no BEGIN line/ }],
  ['text', 'hello', { refused: /\(it has no BEGIN line\): name another\.$/ }],
  ['a key alone', keyA, { refused: /\(what it holds: line 1, a private key\): name another\.$/ }],
  ['comments alone', a.replaceAll(/^/gm, '#'), { refused: /it has no BEGIN line/ }],
  [
    'PKCS#7 alone',
    read('p7.pem'),
    {
      refused: /\(what it holds: line 1, PKCS#7\): convert it: openssl pkcs7 -print_certs -in \S+x\.pem -out/,
    },
  ],
  [
    'PKCS#7 under another name',
    read('p7.pem').replaceAll('PKCS7', 'CERTIFICATE'),
    { refused: /certificate on line 1 is PKCS#7 .*openssl pkcs7/ },
  ],
  [
    'PKCS#7 as DER',
    read('p7.der'),
    { refused: /\(it is PKCS#7 in DER form\): convert it: openssl pkcs7 -inform der/ },
  ],
  [
    'DER',
    read('a.der'),
    { refused: /\(it is a certificate in DER form\): convert it: openssl x509 -inform der -in / },
  ],
  ['a key as DER', read('key.der'), { refused: /\(it is a private key in DER form\)/ }],
  ['PKCS#12', read('a.p12'), { refused: /\(it is PKCS#12\): convert it: openssl pkcs12/ }],
  ['a Java key store', '\xfe\xed\xfe\xed\0\0\0\x02', { refused: /it is a Java key store.*keytool/ }],
  ['UTF-16', utf16(a), { refused: /\(it is text in UTF-16\): convert it: iconv -f UTF-16 -t UTF-8/ }],
  ['UTF-16 without a BOM', utf16(a).slice(2), { refused: /it is text in UTF-16/ }],
  [
    'UTF-16 behind a good one',
    a + utf16(b),
    { refused: new RegExp(`line ${lineOf(a)} holds bytes that are not text`) },
  ],
  [
    'PEM in Base64',
    Buffer.from(a).toString('base64'),
    { refused: /PEM encoded in Base64 once more\): decode it: base64 -d/ },
  ],
  [
    'Base64 without its frame',
    lines.slice(1, -1).join('\n'),
    { refused: /Base64 without BEGIN and END lines/ },
  ],

  [
    'a certificate without its end',
    `${a}${b.slice(0, 200)}`,
    { refused: new RegExp(`certificate on line ${lineOf(a)} is damaged \\(it has no END line`) },
  ],
  [
    'one without its end before another',
    a.slice(0, 200) + b,
    { refused: /certificate on line 1 is damaged \(it has no END line/ },
  ],
  [
    'an end without a beginning',
    lines.slice(1).join('\n') + '\n' + b,
    { refused: new RegExp(`line ${lines.length - 1} is damaged \\(its END line has no BEGIN`) },
  ],
  [
    'four hyphens',
    b + a.replaceAll('-----', '----'),
    { refused: new RegExp(`line ${lineOf(b)} is damaged \\(it needs five hyphens`) },
  ],
  ['en dashes', b + a.replaceAll('-', '\xe2\x80\x93'), { refused: /needs five hyphens/ }],
  ['shared hyphens', a.trimEnd().slice(0, -5) + b, { refused: /is damaged/ }],
  [
    'what is not Base64',
    a.replace(lines[3] ?? '', 'caf\xe9!'),
    { refused: /line 1 is damaged \(line 4 holds what is not Base64\)/ },
  ],
  ['\\n written out', a.trimEnd().replaceAll('\n', '\\n'), { refused: /line 1 holds what is not Base64/ }],
  [
    'a lost character',
    a.replace(lines[2] ?? '', (lines[2] ?? '').slice(1)),
    { refused: /its Base64 has lost characters/ },
  ],
  ['a lost line', lines.toSpliced(3, 1).join('\n'), { refused: /line 1 is damaged \(it was cut off/ }],
  [
    'something behind it',
    formatPem('CERTIFICATE', Buffer.concat([new X509Certificate(a).raw, Buffer.from('x')])),
    { refused: /bytes follow it/ },
  ],
  [
    'trust that is none',
    formatPem('TRUSTED CERTIFICATE', Buffer.concat([new X509Certificate(a).raw, Buffer.from('x')])),
    { refused: /it is not a certificate/ },
  ],
  [
    'another structure',
    formatPem('CERTIFICATE', Buffer.from('300302010a', 'hex')),
    { refused: /it is not a certificate/ },
  ],
  ['nothing within', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----', { refused: /it is empty/ }],
  ['a PEM text within', formatPem('CERTIFICATE', Buffer.from(a)), { refused: /is damaged/ }],
];

describe('a PEM file of certificates with', () => {
  for (const [what, text, outcome] of certificateCases) {
    it(what, () => {
      const readIt = () => readCertificateList(text, path('x.pem'), { whenNone: 'name another' });
      if ('refused' in outcome) {
        assert.throws(readIt, (error: unknown) => {
          assert.ok(error instanceof OperatorError, String(error));
          assert.match(error.message, outcome.refused);
          return true;
        });
        return;
      }
      const { certificates, chainPem, anchorPem, warnings } = readIt();
      assert.equal(certificates.map(({ subject }) => subject.slice(3)).join(' '), outcome.used);
      assert.match(warnings.join(), outcome.warning ?? /^$/);
      // What OpenSSL itself reads of what it is given: both texts whole, and nothing else.
      for (const [name, given] of Object.entries({ chainPem, anchorPem })) {
        writeFileSync(path('given.pem'), given);
        const seen = String(openssl('storeutl', '-certs', '-noout', '-text', 'given.pem'));
        const subjects = [...seen.matchAll(/Subject: CN ?= ?(\w)/g)].map(([, subject]) => subject);
        assert.equal(subjects.join(' '), outcome.used, name);
      }
    });
  }

  it('trust settings keeps them as an anchor, and shows none of them in a chain', () => {
    const { chainPem, anchorPem } = readCertificateList(bom + read('trusted.pem'), 'x.pem');
    assert.equal(anchorPem, read('trusted.pem'));
    assert.equal(chainPem, a);
  });
});

const edKey = String(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }));
const keyCases: readonly (readonly [what: string, text: string, outcome: Outcome])[] = [
  ['PKCS#8', keyA, { used: keyA }],
  ['Ed25519', edKey, { used: edKey }],
  ['a byte order mark', bom + keyA, { used: keyA }],
  ['CR alone', keyA.replaceAll('\n', '\r'), { used: keyA }],
  [
    'SEC1 and its parameters',
    String(openssl('ec', '-in', 'a.key', '-param_out')) + String(openssl('ec', '-in', 'a.key')),
    { used: keyA },
  ],
  [
    'a certificate glued before it',
    a.trimEnd() + keyA,
    { used: keyA, warning: /line \d+, a certificate\.$/ },
  ],
  [
    'another key behind it',
    keyA + keyB,
    { used: keyA, warning: new RegExp(`line ${lineOf(keyA)}, a private key`) },
  ],

  [
    'a certificate alone',
    a,
    { refused: /holds no private key in PEM form \(what it holds: line 1, a certificate\)/ },
  ],
  ['nothing', '', { refused: /\(the file is empty\)/ }],
  [
    'DER',
    read('key.der'),
    { refused: /private key in DER form\): convert it: \(umask 077; openssl pkey -inform der/ },
  ],
  ['UTF-16', utf16(keyA), { refused: /UTF-16/ }],
  ['PKCS#12', read('a.p12'), { refused: /it is PKCS#12/ }],
  ['no end', keyA.slice(0, 90), { refused: /private key is damaged \(line 1: it has no END line/ }],
  ['a damaged one before another', keyA.slice(0, 90) + keyB, { refused: /private key is damaged \(line 1/ }],
  [
    'other content',
    formatPem('PRIVATE KEY', Buffer.from('300302010a', 'hex')),
    { refused: /damaged \(line 1: or of an unknown kind/ },
  ],
  ['a password of old', read('old-encrypted.key'), { refused: /is encrypted with a password/ }],
  [
    'OpenSSH',
    formatPem('OPENSSH PRIVATE KEY', Buffer.from('openssh-key-v1\0')),
    { refused: /in OpenSSH's own form.*ssh-keygen -p -m PEM/ },
  ],
];

describe('a PEM file of a private key with', () => {
  for (const [what, text, outcome] of keyCases) {
    it(what, () => {
      const readIt = () => readPrivateKey(text, path('x.key'));
      if ('refused' in outcome) {
        assert.throws(readIt, (error: unknown) => {
          assert.ok(error instanceof OperatorError, String(error));
          assert.match(error.message, outcome.refused);
          return true;
        });
        return;
      }
      const { pem, warnings } = readIt();
      assert.equal(pem, outcome.used);
      assert.match(warnings.join(), outcome.warning ?? /^$/);
    });
  }

  it('its certificate, where one file is to hold both, warns of neither', () => {
    assert.deepEqual(readPrivateKey(a + keyA, 'x', { holdsCertificate: true }).warnings, []);
    assert.deepEqual(readCertificateList(a + keyA, 'x', { holdsKey: true }).warnings, []);
  });
});

it('a PEM file of 1 MiB of one thing is read in linear time', { timeout: 360_000 }, () => {
  const size = 1024 * 1024;
  const pieces = [
    '-----BEGIN A-----',
    '-----END A-----',
    '-',
    '----- BEGIN CERTIFICATE',
    ' ',
    '\r',
    'A',
    '#\n',
    '\n  ',
  ];
  for (const piece of pieces) {
    for (const rest of ['', '!']) {
      const text = piece.repeat(size / piece.length) + rest;
      assert.throws(() => readCertificateList(text, 'x.pem'), OperatorError);
      const within = `-----BEGIN CERTIFICATE-----\nA: b\n${text}-----END CERTIFICATE-----`;
      assert.throws(() => readCertificateList(within, 'x.pem'), OperatorError);
    }
  }
});
