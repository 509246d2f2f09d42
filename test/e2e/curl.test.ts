import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { basic, password, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { run } from '../support/processes.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

describe('curl', { skip: unlessInstalled('curl', 'docker-registry') }, () => {
  let registry: Registry;
  let frontDoor: FrontDoor;
  before(async () => {
    registry = await startRegistry();
    frontDoor = await startFrontDoor({ upstreamUrl: registry.url });
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
  });

  /** Gives curl's exit code and the answer's status, headers and body. */
  async function curl(target: string, ...args: readonly string[]) {
    const url = `https://localhost:${frontDoor.port}${target}`;
    const done = await run('curl', ['--silent', '--show-error', '--include', ...args, url]);
    const [head = '', body = ''] = done.stdout.split('\r\n\r\n');
    const [statusLine = '', ...headers] = head.split('\r\n');
    return { code: done.code, stderr: done.stderr, status: statusLine.split(' ')[1], headers, body };
  }
  const trusting = () => ['--cacert', frontDoor.caPath];

  it('gets 200 for a version check without credentials', async () => {
    const answer = await curl('/v2/', ...trusting());
    assert.deepEqual([answer.code, answer.status, answer.body], [0, '200', '{}']);
    assert.ok(answer.headers.includes('Docker-Distribution-Api-Version: registry/2.0'));
    assert.ok(answer.headers.includes('WWW-Authenticate: Basic realm="Registry"'));
  });

  it('gets 200 for one with the right password, 401 with a wrong one', async () => {
    assert.equal((await curl('/v2/', ...trusting(), '--user', `${user}:${password}`)).status, '200');
    assert.equal((await curl('/v2/', ...trusting(), '--user', `${user}:wrong`)).status, '401');
  });

  it('gets 401 for anything else without credentials', async () => {
    const answer = await curl('/v2/_catalog', ...trusting());
    assert.equal(answer.status, '401');
    assert.match(answer.body, /^\{"errors":\[\{"code":"UNAUTHORIZED"/);
    const withPassword = await curl('/v2/_catalog', ...trusting(), '--header', `Authorization: ${basic}`);
    assert.deepEqual([withPassword.status, withPassword.body.trim()], ['200', '{"repositories":[]}']);
  });

  it('refuses a front door whose CA it does not know', async () => {
    const answer = await curl('/v2/');
    assert.equal(answer.code, 60, answer.stderr); // CURLE_PEER_FAILED_VERIFICATION
  });
});
