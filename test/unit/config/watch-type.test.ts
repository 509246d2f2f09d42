import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findProblems, loadText } from './load-text.ts';

const mail = 'from: a@example.com, to: [b@example.com]';

describe('loadConfig: admin and alerts', () => {
  for (const url of [
    'http://127.0.0.1:9093/hook',
    'https://hooks.example.com',
    'https://hooks.example.com/services/T0/B0/x?y=z',
  ]) {
    it(`takes the webhook ${url}`, async () => {
      assert.equal((await loadText(`alerts: { webhook: '${url}' }`)).config.alerts.webhook, url);
    });
  }
  for (const url of [
    'ftp://s3cr3t/',
    's3cr3t.example.com/hook',
    'https://',
    'https:///s3cr3t',
    'https://name:s3cr3t@example.com/',
    'https://example.com/s3cr3t hook',
    'https://example.com:99999/s3cr3t',
  ]) {
    it(`refuses the webhook ${url}, and does not repeat it`, async () => {
      const [problem = '', ...others] = await findProblems(`alerts: { webhook: '${url}' }`);
      assert.match(problem, /^x\.yml:1: alerts\.webhook: /);
      assert.doesNotMatch(problem, /s3cr3t/);
      assert.deepEqual(others, []);
    });
  }
  for (const url of [
    'smtp://localhost:25',
    'smtps://mail.example.com',
    'smtp://[::1]:587',
    'smtp://10.0.0.1/',
  ]) {
    it(`takes the mail server ${url}`, async () => {
      assert.equal(
        (await loadText(`alerts: { smtp: { url: '${url}', ${mail} } }`)).config.alerts.smtp.url,
        url,
      );
    });
  }
  for (const url of [
    'mail.example.com',
    'smtp://a:b@mail.example.com',
    'smtp://',
    'smtp://x/y',
    'http://x',
    'smtp://x:0x',
  ]) {
    it(`refuses the mail server ${url}`, async () => {
      const [problem = ''] = await findProblems(`alerts: { smtp: { url: '${url}', ${mail} } }`);
      assert.match(problem, /^x\.yml:1: alerts\.smtp\.url: /);
    });
  }
  for (const [text, key, message] of [
    ['alerts: { smtp: { url: smtp://x, to: [a@b] } }', 'alerts.smtp.url', /needs alerts\.smtp\.from/],
    ['alerts: { smtp: { url: smtp://x, from: a@b } }', 'alerts.smtp.url', /needs alerts\.smtp\.to/],
    ['alerts: { smtp: { username: x } }', 'alerts.smtp.username', /alerts\.smtp\.password/],
    ['alerts: { smtp: { password: x } }', '', /alerts\.smtp\.password|username/],
    ['alerts: { smtp: { from: "a@b\\r\\nBcc: c@d" } }', 'alerts.smtp.from', /not allowed/],
    ['alerts: { smtp: { to: ["a@b", "<c@d>"] } }', 'alerts.smtp.to', /"<c@d>" is not a mail address/],
    ['alerts: { certificateDays: 0 }', 'alerts.certificateDays', /not allowed/],
    ['admin: { port: 65536 }', 'admin.port', /not allowed/],
    ['admin: { names: ["tidegate:9090"] }', 'admin.names', /"tidegate:9090" is not a host name/],
    ['admin: { names: ["*"] }', 'admin.names', /is not a host name/],
    ['upstream: { probeInterval: 10ms }', 'upstream.probeInterval', /too small/],
  ] as const) {
    it(`refuses ${text}`, async () => {
      const [problem = '', ...others] = await findProblems(text);
      assert.ok(problem.includes(key), problem);
      assert.match(problem, message);
      assert.deepEqual(others, []);
    });
  }
  it('takes no admin port for none, and the usual one when nothing is said', async () => {
    assert.equal((await loadText('admin: { port: null }')).config.admin.port, null);
    assert.equal((await loadText('', { env: { TIDEGATE_ADMIN_PORT: '' } })).config.admin.port, null);
    assert.equal((await loadText('')).config.admin.port, 9090);
  });
});
