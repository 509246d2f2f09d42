import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findAdminRefusal } from '../../../src/admin/admin-request.ts';

for (const [host, localAddress, asked, isAnswered] of [
  // On one address: that one.
  ['10.0.0.5', '10.0.0.5', '10.0.0.5:9090', true],
  ['10.0.0.5', '10.0.0.5', '10.0.0.6:9090', false],
  ['::1', '::1', '[::1]:9090', true],
  ['::1', '::1', '::1', false],
  // On all of them, as in a container: any address, since a port may be mapped, and no name.
  ['0.0.0.0', '172.17.0.2', '172.17.0.2:9090', true],
  ['0.0.0.0', '172.17.0.2', '127.0.0.1:19090', true],
  ['::', '::ffff:172.17.0.2', '172.17.0.2', true],
  ['::', 'fd00::2', '[fd00::2]:9090', true],
  ['0.0.0.0', '172.17.0.2', 'attacker.example:9090', false],
  ['0.0.0.0', '172.17.0.2', '172.17.0.2.attacker.example', false],
  ['0.0.0.0', '172.17.0.2', 'tidegate:9090', false],
  // By the name that it is configured with.
  ['admin.internal', '10.0.0.5', 'ADMIN.internal:9090', true],
  ['', '10.0.0.5', '', false],
] as const) {
  test(`admin.host ${host}, reached at ${localAddress}, asked as ${asked}`, () => {
    const request = { rawHeaders: ['Host', asked], socket: { localAddress } };
    assert.equal(findAdminRefusal(request, { host, names: [] }) === null, isAnswered);
  });
}
