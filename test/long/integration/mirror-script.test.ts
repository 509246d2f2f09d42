import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pickFreePort } from '../../../src/quickstart/port.ts';
import { addHubImage, startHub, types, type Hub, type HubImage } from '../../support/hub.ts';
import { root, stop } from '../../support/processes.ts';
import { until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

describe('deploy/mirror.sh', { skip: unlessInstalled('docker-registry') }, () => {
  let hub: Hub;
  let dir: string;
  let url: string;
  let script: ChildProcess;
  let kept: HubImage;
  let other: HubImage;
  before(async () => {
    hub = await startHub();
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-mirror-'));
    const port = await pickFreePort('127.0.0.1');
    url = `http://127.0.0.1:${port}/v2/`;
    const config = {
      version: '0.1',
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: `${dir}/storage` } },
      http: { addr: `127.0.0.1:${port}` },
      proxy: { remoteurl: hub.url },
    };
    await writeFile(`${dir}/config.yml`, JSON.stringify(config)); // JSON is YAML
    kept = await addHubImage(hub, 'library/kept', '1');
    other = await addHubImage(hub, 'library/other', '1');
    script = start();
    await until('it answers', async () => (await status('')) === 200);
  });
  after(async () => {
    await stop(script);
    await hub.stop();
    await rm(dir, { recursive: true });
  });

  const start = () =>
    spawn('sh', [`${root}deploy/mirror.sh`, 'docker-registry', `${dir}/config.yml`, '0.1'], {
      stdio: 'ignore',
    });
  const status = async (target: string, method = 'GET'): Promise<number | null> => {
    const answer = await fetch(`${url}${target}`, { method, headers: { Accept: types.manifest } }).catch(
      () => null,
    );
    await answer?.arrayBuffer();
    return answer?.status ?? null;
  };

  it('runs the registry, and ends it at a signal', async () => {
    assert.equal(await status(`${kept.repository}/manifests/1`), 200);
    for (const digest of [kept.configDigest, ...kept.layerDigests]) {
      assert.equal(await status(`${kept.repository}/blobs/${digest}`), 200);
      const link = `${kept.repository}/_layers/${digest.replace(':', '/')}/link`;
      await until(`${digest} is kept`, () =>
        Promise.resolve(existsSync(`${dir}/storage/docker/registry/v2/repositories/${link}`)),
      );
    }
    await stop(script);
    assert.deepEqual([script.exitCode, await status('')], [0, null]);
  });

  it('started while the source is away, it serves what the mirror has, and takes no writes', async () => {
    await hub.be({ away: true });
    script = start();
    await until('it answers', async () => (await status('')) === 200);
    assert.equal(await status(`${kept.repository}/manifests/1`), 200);
    assert.equal(await status(`${kept.repository}/blobs/${kept.layerDigests[0]}`), 200);
    assert.equal(await status(`${other.repository}/manifests/1`), 404);
    assert.equal(await status(`${kept.repository}/blobs/uploads/`, 'POST'), 405);
  });

  it('ends that at a signal, too', async () => {
    await stop(script);
    assert.deepEqual([script.exitCode, await status('')], [0, null]);
    script = start();
    await until('it answers', async () => (await status('')) === 200);
  });

  it('mirrors again once the source is back', async () => {
    await hub.be({ away: false });
    await until('the source is asked', async () => (await status(`${other.repository}/manifests/1`)) === 200);
    assert.equal(await status(`${kept.repository}/manifests/1`), 200);
  });

  it('ends with the status of a registry that does not start for another reason', async () => {
    await writeFile(`${dir}/config.yml`, '{"version": "0.1"}');
    await stop(script);
    script = start();
    await until('it has ended', () => Promise.resolve(script.exitCode !== null));
    assert.equal(script.exitCode, 1);
  });
});
