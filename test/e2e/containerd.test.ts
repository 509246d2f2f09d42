import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { lastLine, unknownAuthority } from '../support/clients.ts';
import { startContainerd, type Containerd } from '../support/clients-containerd.ts';
import { openEngineNamespace, unlessNamespaces, type EngineNamespace } from '../support/engine-namespace.ts';
import { password, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { createImage, type Image } from '../support/image.ts';
import type { Finished } from '../support/processes.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const skip =
  unlessInstalled('ctr', 'containerd', 'docker-registry', 'tar', 'ip', 'unshare', 'nsenter') ||
  unlessNamespaces();

// It has no login: the password comes with every command, from ctr as from Kubernetes' pull secrets.
describe('containerd', { skip }, () => {
  let namespace: EngineNamespace;
  let registry: Registry;
  let frontDoor: FrontDoor;
  let image: Image;
  let containerd: Containerd;
  before(async () => {
    namespace = await openEngineNamespace();
    registry = await startRegistry({ within: namespace.networkOnly });
    frontDoor = await startFrontDoor({
      upstreamUrl: registry.url,
      hosts: [namespace.host],
      set: [`listen.host=${namespace.address}`, 'listen.port=443'],
      within: namespace.networkOnly,
    });
    image = await createImage();
    containerd = await startContainerd({ namespace, caPath: frontDoor.caPath, image });
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
    await namespace.close(); // which ends containerd
    await containerd.cleanUp();
    await image.remove();
  });

  const repositoryTag = 'team/containerd:1';
  const right = `${user}:${password}`;

  const refused = (t: TestContext, done: Finished, reason: RegExp) => {
    t.diagnostic(lastLine(done));
    assert.equal(done.code, 1, done.stdout);
    assert.match(done.stderr, reason);
  };

  const succeeded = (t: TestContext, done: Finished) => {
    t.diagnostic(lastLine(done));
    const answers = frontDoor.log.map((line) => JSON.stringify(line)).join('\n');
    assert.equal(done.code, 0, `${done.stderr}\nThe front door's log:\n${answers}`);
  };

  it('refuses a front door whose CA it does not know', async (t) => {
    refused(t, await containerd.push(repositoryTag, right, false), unknownAuthority);
  });

  it('may not push without credentials or with a wrong password', async (t) => {
    refused(t, await containerd.push(repositoryTag, null), /401 Unauthorized|authorization failed/);
    refused(
      t,
      await containerd.push(repositoryTag, `${user}:wrong`),
      /401 Unauthorized|authorization failed/,
    );
    await assert.rejects(registry.manifest('team/containerd', '1'), { code: 'ENOENT' });
  });

  it('pushes an image of several layers with the right one', async (t) => {
    const done = await containerd.push(repositoryTag, right);
    succeeded(t, done);
    const stored = await registry.manifest('team/containerd', '1');
    assert.equal(stored.configDigest, image.id);
    assert.equal(stored.layerDigests.length, image.layerCount);
  });

  it('pulls the very image that it pushed, and nothing without credentials', async (t) => {
    refused(t, await containerd.pull(repositoryTag, null), /401 Unauthorized|authorization failed/);
    const done = await containerd.pull(repositoryTag, right);
    succeeded(t, done);
    const listed = await containerd.describe(repositoryTag);
    const stored = await registry.manifest('team/containerd', '1');
    assert.ok(listed.includes(stored.digest), listed);
    for (const digest of stored.layerDigests) {
      const layer = `/v2/team/containerd/blobs/${digest}`;
      const line = await frontDoor.logged((entry) => entry['path'] === layer && entry['method'] === 'GET');
      assert.deepEqual([line['status'], line['user']], [200, user]);
    }
  });
});
