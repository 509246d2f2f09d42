import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  judgeChain,
  judgeKey,
  judgeLifetime,
  judgeName,
  judgeServed,
  judgeVersions,
} from '../../../src/doctor/client/connection/certificate-checks.ts';
import type { TlsVersion } from '../../../src/doctor/client/connection/handshake.ts';
import { createCertificates } from '../../../src/tls/issue/self-signed.ts';
import { parseServerName } from '../../../src/tls/server-name.ts';

const now = new Date();
const dayMs = 86_400_000;
const inDays = (days: number) => new Date(now.getTime() + days * dayMs);

let folder: string;
let leaf: X509Certificate;
let ca: X509Certificate;
let otherCa: X509Certificate;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-doctor-'));
  const make = async (name: string) => {
    const outDir = join(folder, name);
    await createCertificates({
      outDir,
      hosts: ['reg.example.com', '*.apps.example.com'],
      ips: ['192.0.2.1'],
      days: 100,
      now,
    });
    const read = (file: string) => new X509Certificate(readFileSync(join(outDir, file)));
    return { leaf: read('server.crt'), ca: read('ca.crt') };
  };
  ({ leaf, ca } = await make('one'));
  ({ ca: otherCa } = await make('other'));
});
after(() => rmSync(folder, { recursive: true }));

describe('judgeChain', () => {
  const trust = () => ({ ca: [ca.toString()], shown: 'ca.crt' });
  const others = () => ({ ca: [otherCa.toString()], shown: 'ca.crt' });

  it('follows OpenSSL', () => {
    assert.equal(judgeChain({ chain: [leaf, ca], fault: null }, trust()).state, 'ok');
    const cases: [string, RegExp][] = [
      ['DEPTH_ZERO_SELF_SIGNED_CERT', /self-signed/],
      ['SELF_SIGNED_CERT_IN_CHAIN', /^The issuer "Tidegate CA \w+" is not known to ca\.crt/],
      ['CERT_SIGNATURE_FAILURE', /CERT_SIGNATURE_FAILURE/],
    ];
    for (const [fault, said] of cases) {
      const finding = judgeChain({ chain: [leaf, ca], fault }, trust());
      assert.equal(finding.state, 'broken', fault);
      assert.match(finding.what, said);
    }
    const alone = judgeChain({ chain: [leaf], fault: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' }, others());
    assert.match(alone.what, /only its own certificate/);
  });

  it('looks for the CA itself where a date hides whether it is known', () => {
    for (const fault of ['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']) {
      for (const chain of [[leaf], [leaf, ca]] as const) {
        assert.equal(judgeChain({ chain: [...chain], fault }, trust()).state, 'ok');
        assert.equal(judgeChain({ chain: [...chain], fault }, others()).state, 'broken');
      }
      assert.equal(judgeChain({ chain: [leaf, otherCa], fault }, others()).state, 'broken', 'not linked');
    }
  });
});

describe('judgeName', () => {
  const cases: [string, string][] = [
    ['reg.example.com', 'ok'],
    ['x.apps.example.com', 'ok'],
    ['192.0.2.1', 'ok'],
    ['example.com', 'broken'],
    ['x.y.apps.example.com', 'broken'],
    ['192.0.2.2', 'broken'],
  ];
  for (const [name, state] of cases) {
    it(`is ${state} for ${name}`, () => {
      assert.equal(judgeName(leaf, parseServerName(name)).state, state);
    });
  }

  it('names all names in the command that mends it', () => {
    const { fix: mend } = judgeName(leaf, parseServerName('new.example.com'));
    assert.match(mend ?? '', /--host reg\.example\.com,\*\.apps\.example\.com,new\.example\.com /);
  });
});

describe('judgeLifetime', () => {
  const cases: [number, string, RegExp][] = [
    [0, 'ok', /valid for \d+ more days/],
    [85, 'ok', /valid for 14 more days/],
    [86.5, 'warning', /valid for 13 more days/],
    [99.5, 'warning', /valid for 0 more days/],
    [101.5, 'broken', /expired 1 day ago/],
    [-2, 'broken', /not valid before/],
  ];
  for (const [days, state, said] of cases) {
    it(`is ${state} ${days} days from its beginning`, () => {
      const finding = judgeLifetime([leaf], inDays(days));
      assert.equal(finding.state, state, finding.what);
      assert.match(finding.what, said);
    });
  }

  it('looks at the CAs too', () => {
    const finding = judgeLifetime([ca, leaf], inDays(101));
    assert.match(finding.what, /^The CA certificate "reg\.example\.com" expired/);
  });
});

describe('judgeKey', () => {
  it('refuses short RSA keys alone', () => {
    assert.equal(judgeKey(leaf).state, 'ok');
    const make = (...key: string[]) => {
      const path = join(folder, 'key.pem');
      const args = [
        'req',
        '-x509',
        '-nodes',
        '-subj',
        '/CN=x',
        '-keyout',
        '/dev/null',
        '-out',
        path,
        '-newkey',
        ...key,
      ];
      execFileSync('openssl', args, { stdio: 'pipe' });
      return new X509Certificate(readFileSync(path));
    };
    assert.equal(judgeKey(make('rsa:1024')).state, 'broken');
    const ec = judgeKey(make('ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'));
    assert.deepEqual([ec.state, ec.what], ['ok', 'The key is EC prime256v1.']);
  });
});

describe('judgeVersions', () => {
  const judge = (one: boolean | null, oneOne: boolean | null) =>
    judgeVersions(
      new Map<TlsVersion, boolean | null>([
        ['TLSv1', one],
        ['TLSv1.1', oneOne],
        ['TLSv1.2', true],
        ['TLSv1.3', true],
      ]),
    );
  it('warns of versions before 1.2', () => {
    assert.equal(judge(false, false).state, 'ok');
    assert.equal(judge(true, true).state, 'warning');
    assert.match(judge(false, true).what, /TLSv1\.1 is not safe/);
    assert.match(judge(null, false).what, /this machine cannot try TLSv1\.$/);
  });
});

describe('judgeServed', () => {
  it('compares with the file', () => {
    assert.equal(judgeServed(leaf, leaf, 'server.crt').state, 'ok');
    assert.equal(judgeServed(leaf, ca, 'server.crt').state, 'warning');
  });
});
