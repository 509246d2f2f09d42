import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toTransport } from '../../../src/alerts/mail.ts';

const options = { username: null, password: null, from: 'a@example.com', to: ['b@example.com'], ca: null };

for (const [url, ca, expected] of [
  ['smtps://mail.example.com', null, { port: 465, secure: true, requireTLS: false, ignoreTLS: false }],
  ['smtp://mail.example.com', null, { port: 587, secure: false, requireTLS: true, ignoreTLS: false }],
  ['smtp://192.0.2.1:25', null, { port: 25, secure: false, requireTLS: true, ignoreTLS: false }],
  ['smtp://127.example.com:25', null, { port: 25, secure: false, requireTLS: true, ignoreTLS: false }],
  ['smtp://localhost:25', null, { port: 25, secure: false, requireTLS: false, ignoreTLS: true }],
  ['smtp://127.0.0.1:25', null, { port: 25, secure: false, requireTLS: false, ignoreTLS: true }],
  ['smtp://[::1]:25', null, { port: 25, secure: false, requireTLS: false, ignoreTLS: true }],
  ['smtp://localhost:25', 'PEM', { port: 25, secure: false, requireTLS: true, ignoreTLS: false }],
  ['smtps://localhost', null, { port: 465, secure: true, requireTLS: false, ignoreTLS: false }],
] as const) {
  test(`mail by ${url}${ca === null ? '' : ' with a CA'}: TLS unless it stays on this machine`, () => {
    const transport = toTransport({ ...options, url, ca });
    const { port, secure, requireTLS, ignoreTLS } = transport;
    assert.deepEqual({ port, secure, requireTLS, ignoreTLS }, expected);
    assert.equal(transport.tls.rejectUnauthorized, true);
    assert.ok(!transport.host.includes('['));
  });
}
