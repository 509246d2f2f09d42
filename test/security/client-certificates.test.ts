import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createClientCertificates } from '../../src/tls/issue/client-certificates.ts';
import { copyCertificate } from '../support/certificate-files.ts';
import { createClientPair, readPair, type ClientPair } from '../support/client-certificates.ts';
import { password, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { run } from '../support/processes.ts';
import { authorized, anonymous, connectClient } from '../support/raw-client.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const get = authorized('GET /v2/app/blobs/x');
const dayMs = 86_400_000;

describe('client certificates of `cert client`', { timeout: 360_000 }, () => {
  let dir: string;
  let upstream: ScriptedUpstream;
  /** With the CA that `cert client` makes, as it says; and with the server's own CA, as one might think. */
  let frontDoor: FrontDoor;
  let withServerCa: FrontDoor;
  let alice: ClientPair;
  let server: ClientPair;
  const refused = new Map<string, ClientPair | Record<string, never>>();

  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    const certs = path.join(dir, 'certs');
    const others = path.join(dir, 'others');
    await copyCertificate(certs, ['localhost']); // the very certificate of the instances below
    alice = await createClientPair(certs, 'alice');
    server = await readPair(certs, 'server');
    const past = new Date(Date.now() - 10 * dayMs);
    const make = async (outDir: string, name: string, now: Date) => {
      await createClientCertificates({ outDir, names: [name], days: 5, now });
      return readPair(outDir, name);
    };
    // A CA of the past: what is below a CA does not begin before it.
    const aged = path.join(dir, 'aged');
    const expired = await make(aged, 'late', past);
    const inTime = await make(aged, 'punctual', new Date());
    const early = await make(aged, 'early', new Date(Date.now() + 2 * dayMs));
    refused.set('no certificate', {});
    refused.set('a certificate of the same name by another CA', await createClientPair(others, 'alice'));
    refused.set("the server's own", server);
    refused.set('one that has expired', expired);
    refused.set('one that is not valid yet', early);
    await writeFile(
      path.join(dir, 'clients.pem'),
      (await readPair(certs, 'client-ca')).cert + (await readPair(aged, 'client-ca')).cert,
    );
    upstream = await startUpstream({ script: answerOk });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: [`tls.clientCa=${path.join(dir, 'clients.pem')}`],
    });
    withServerCa = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: [`tls.clientCa=${path.join(certs, 'ca.crt')}`, 'workers=2'],
    });
    // The two CAs are both taken: what is refused below is refused for what it is.
    assert.deepEqual(await statuses(frontDoor, inTime, get), [200]);
  });
  after(async () => {
    await frontDoor.stop();
    await withServerCa.stop();
    await upstream.close();
    await rm(dir, { recursive: true, force: true });
  });

  async function statuses(door: FrontDoor, pair: object, ...requests: string[]): Promise<number[]> {
    const client = await connectClient(door, pair);
    try {
      client.send(...requests);
      const got: number[] = [];
      while (got.length < requests.length) got.push((await client.response()).status);
      return got;
    } finally {
      client.leave();
    }
  }

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`one that is right comes in over ${version}, and still needs the password`, async () => {
      const options = { ...alice, minVersion: version, maxVersion: version };
      assert.deepEqual(await statuses(frontDoor, options, get, anonymous('GET /v2/app/blobs/x')), [200, 401]);
    });

    test(`over ${version} nobody else does, whatever the password`, async () => {
      const before = upstream.requests.length;
      for (const [what, pair] of refused) {
        // In TLS 1.3 a client is through with its handshake before the server has looked at its certificate.
        const attempt = statuses(frontDoor, { ...pair, minVersion: version, maxVersion: version }, get);
        await attempt.then(
          (got) => assert.fail(`${what}: ${got.join()}`),
          () => {},
        );
      }
      assert.equal(upstream.requests.length, before);
    });
  }

  test("the server's own CA as tls.clientCa lets nobody in with the server's certificate", async () => {
    for (const pair of [server, alice, {}]) await assert.rejects(statuses(withServerCa, pair, get));
  });

  test('curl comes in with it and not without', { skip: unlessInstalled('curl') }, async () => {
    const files = ['--cert', path.join(dir, 'certs/alice.crt'), '--key', path.join(dir, 'certs/alice.key')];
    const asServer = [
      '--cert',
      path.join(dir, 'certs/server.crt'),
      '--key',
      path.join(dir, 'certs/server.key'),
    ];
    const curl = async (...args: string[]) => {
      const { code, stdout } = await run('curl', [
        ...['--silent', '--output', '/dev/null', '--write-out', '%{http_code}', '--noproxy', '*'],
        ...['--cacert', frontDoor.caPath, '--user', `${user}:${password}`, ...args],
        `https://localhost:${frontDoor.port}/v2/app/blobs/x`,
      ]);
      return { code, status: stdout };
    };
    assert.deepEqual(await curl(...files), { code: 0, status: '200' });
    for (const args of [[], asServer]) {
      const done = await curl(...args);
      assert.equal(done.status, '000');
      assert.notEqual(done.code, 0);
    }
  });
});
