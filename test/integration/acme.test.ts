import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  acmeFolder,
  host,
  presented,
  readProgress,
  startAcmeDoor,
  stopDoors,
  untilIssued,
} from '../support/acme.ts';
import { findAdmin, watched } from '../support/admin.ts';
import { startPebble, type Pebble } from '../support/pebble.ts';
import { tidegate } from '../support/processes.ts';
import { unlessInstalled } from '../support/requirement.ts';

const skip = unlessInstalled('pebble', 'pebble-challtestsrv');

describe('a certificate by ACME', { skip, timeout: 360_000 }, () => {
  let pebble: Pebble;
  let root: string;
  before(async () => {
    // A third of all nonces are refused, and some authorizations are valid already.
    pebble = await startPebble({ env: { PEBBLE_WFE_NONCEREJECT: '30', PEBBLE_AUTHZREUSE: '50' } });
    root = await pebble.root();
  });
  after(async () => {
    await stopDoors();
    await pebble.stop();
  });

  test('is ordered by tls-alpn-01 for several names, and taken by all workers; nobody else reads its files', async () => {
    pebble.lead({ tls: [] }); // the CA does not come in until readiness was looked at
    const names = [host, 'mirror.example.com'];
    const door = await startAcmeDoor({ pebble, names, set: ['workers=2', ...watched] });
    const admin = await findAdmin(door);
    await untilIssued(door);
    for (let i = 0; i < 8; i += 1) {
      const certificate = await presented(door.port, { ca: root });
      assert.equal(certificate.subjectaltname, 'DNS:registry.example.com, DNS:mirror.example.com');
      assert.equal(certificate.asn1Curve, 'prime256v1');
    }
    // Whoever asks like a CA gets nothing when no check is to come.
    await assert.rejects(
      presented(door.port, { ALPNProtocols: ['acme-tls/1'] }),
      /no application protocol|alert/i,
    );

    const folder = acmeFolder(door);
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    for (const name of await readdir(folder))
      assert.equal((await stat(path.join(folder, name))).mode & 0o777, 0o600, name);
    assert.ok(!(await readdir(folder)).includes('order.json'));

    const metrics = await admin.metrics();
    assert.equal(metrics.get('tidegate_certificate_orders_total{result="done"}'), 1);
    assert.equal(metrics.get('tidegate_certificate_failed_tries'), 0);
    assert.equal(metrics.get('tidegate_certificate_self_signed'), 0);
    const renewal = (await readProgress(door))['renewal'] as { atMs: number };
    assert.equal(metrics.get('tidegate_certificate_renewal_timestamp_seconds'), renewal.atMs / 1000);

    const show = ['cert', 'show', '--set', `tls.acme.hosts=${names.join(',')}`];
    const shown = await tidegate(show, { cwd: door.dir });
    assert.match(
      shown.stdout,
      /certificate\.pem\n(?:.*\n)* {2}names +registry\.example\.com, mirror\.example\.com\n/,
    );
    assert.match(shown.stdout, new RegExp(`renewal +${new Date(renewal.atMs).toISOString()}`));
    await door.stop();
  });
});
