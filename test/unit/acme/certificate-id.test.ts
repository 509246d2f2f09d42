import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { certificateId } from '../../../src/acme/certificate-id.ts';

test('certificateId: the example of RFC 9773 section 4.1, and a certificate without the key of its issuer', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'tidegate-certificate-id-'));
  const config = path.join(dir, 'openssl.cnf');
  const make = (extensions: string, ...args: string[]) => {
    writeFileSync(config, `[req]\ndistinguished_name=d\nx509_extensions=e\n[d]\n[e]\n${extensions}`);
    const out = path.join(dir, 'out.pem');
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
        ...['-keyout', path.join(dir, 'key.pem'), '-subj', '/CN=a', '-config', config, '-out', out, ...args],
      ],
      { stdio: 'pipe' },
    );
    return new X509Certificate(readFileSync(out));
  };
  const keyId = '69:88:5B:6B:87:46:40:41:E1:B3:7B:84:7B:A0:AE:2C:DE:01:C8:D4';
  const named = make(
    `subjectKeyIdentifier=${keyId.replaceAll(':', '')}\nauthorityKeyIdentifier=keyid:always\n`,
    ...['-set_serial', '0x87654321'],
  );
  assert.equal(certificateId(named), 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE');
  assert.equal(certificateId(make('subjectKeyIdentifier=none\nauthorityKeyIdentifier=none\n')), null);
  rmSync(dir, { recursive: true });
});
