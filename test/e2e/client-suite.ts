import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { lastLine, unknownAuthority, type Client } from '../support/clients.ts';
import { password, user, type FrontDoor } from '../support/front-door.ts';
import { createImage, type Image } from '../support/image.ts';
import type { Finished } from '../support/processes.ts';
import type { Registry } from '../support/registry.ts';

export type ClientSuite = {
  readonly skip: string | false;
  /** The Tidegate that the client reaches over TLS, and the registry behind it, which needs no password. */
  readonly place: () => { readonly frontDoor: FrontDoor; readonly registry: Registry };
  /** Where to push, not used by any other client. */
  readonly repository: string;
  readonly createClient: (image: Image) => Promise<Client>;
};

const everything = { loggedIn: true, trusting: true };
const nobody = { loggedIn: false, trusting: true };
const distrusting = { loggedIn: true, trusting: false };

/**
 * What every client must get: refused without the CA, with a wrong password and without credentials, and with the right
 * ones an image that comes down as it went up.
 */
export function describeClient(name: string, { skip, place, repository, createClient }: ClientSuite): void {
  const repositoryTag = `${repository}:1`;
  describe(name, { skip }, () => {
    let image: Image;
    let client: Client;
    before(async () => {
      image = await createImage();
      client = await createClient(image);
    });
    after(async () => {
      await client.cleanUp();
      await image.remove();
    });

    const refused = (t: TestContext, done: Finished, reason: RegExp) => {
      note(t, done);
      assert.notEqual(done.code, 0, done.stdout);
      assert.match(done.stderr, reason);
    };
    const succeeded = (t: TestContext, done: Finished) => {
      note(t, done);
      assert.equal(done.code, 0, done.stderr);
    };
    const note = (t: TestContext, done: Finished) => {
      t.diagnostic(`${client.name}: ${lastLine(done)}`);
    };

    it('refuses a front door whose CA it does not know', async (t) => {
      refused(t, await client.login(password, { trusting: false }), unknownAuthority);
    });

    it('is refused with a wrong password', async (t) => {
      refused(t, await client.login('wrong', { trusting: true }), client.wrongPassword);
      assert.equal(await client.hasCredentials(), false);
    });

    it('may not push without credentials', async (t) => {
      refused(t, await client.push(repositoryTag, nobody), client.noCredentials);
      await assert.rejects(place().registry.manifest(repository, '1'), { code: 'ENOENT' });
    });

    it('logs in with the right password', async (t) => {
      succeeded(t, await client.login(password, { trusting: true }));
      assert.equal(await client.hasCredentials(), true);
    });

    it('refuses to push to a front door whose CA it does not know', async (t) => {
      refused(t, await client.push(repositoryTag, distrusting), unknownAuthority);
    });

    it('pushes an image of several layers', async (t) => {
      succeeded(t, await client.push(repositoryTag, everything));
      const stored = await place().registry.manifest(repository, '1');
      assert.equal(stored.configDigest, image.id);
      assert.equal(new Set(stored.layerDigests).size, image.layerCount);
      const line = await place().frontDoor.logged(
        (entry) => entry.msg === 'push' && entry['repository'] === repository && entry['tag'] === '1',
      );
      assert.deepEqual(
        [line['user'], line['digest'], line['oldDigest'], line['result']],
        [user, stored.digest, null, 'success'],
      );
    });

    it('may not pull without credentials', async (t) => {
      refused(t, await client.pull(repositoryTag, nobody), client.noCredentials);
    });

    it('refuses to pull from a front door whose CA it does not know', async (t) => {
      refused(t, await client.pull(repositoryTag, distrusting), unknownAuthority);
    });

    it('pulls the very image that it pushed', async (t) => {
      const stored = await place().registry.manifest(repository, '1');
      const { frontDoor } = place();
      const earlier = frontDoor.log.length;
      succeeded(t, await client.pull(repositoryTag, everything));
      assert.deepEqual(await client.pulled(repositoryTag), { id: image.id, digest: stored.digest });
      for (const digest of stored.layerDigests) {
        const line = await frontDoor.logged(
          (entry) =>
            entry['path'] === `/v2/${repository}/blobs/${digest}` &&
            entry['method'] === 'GET' &&
            entry['status'] === 200 &&
            frontDoor.log.indexOf(entry) >= earlier,
        );
        assert.equal(line['user'], user);
      }
    });
  });
}
