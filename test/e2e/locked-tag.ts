import assert from 'node:assert/strict';
import { it } from 'node:test';
import { lastLine } from '../support/clients.ts';
import { password } from '../support/front-door.ts';
import { createImage } from '../support/image.ts';
import type { ClientSuite } from './client-suite.ts';

/** Tidegate's settings for {@link itKeepsLockedTags}. */
export const lockedTags = 'immutableTags=["locked/*:v*"]';

/** What a client's user must see: a tag that is immutable takes the same image once more, and of another one it is said why not. */
export function itKeepsLockedTags(
  name: string,
  { skip, createClient }: Pick<ClientSuite, 'skip' | 'createClient'>,
): void {
  it(`tells ${name} that a tag is immutable`, { skip }, async (t) => {
    const repositoryTag = `locked/${name.replace(/[^a-z0-9]+/g, '-')}:v1`;
    const everything = { loggedIn: true, trusting: true };
    for (const isFirst of [true, false]) {
      const image = await createImage({ layerCount: 1 });
      const client = await createClient(image);
      try {
        assert.equal((await client.login(password, { trusting: true })).code, 0);
        const done = await client.push(repositoryTag, everything);
        t.diagnostic(lastLine(done));
        if (isFirst) {
          assert.equal(done.code, 0, done.stderr);
          assert.equal((await client.push(repositoryTag, everything)).code, 0);
        } else {
          assert.notEqual(done.code, 0);
          assert.match(
            done.stderr,
            /alice may not move locked\/[a-z0-9-]+:v1: pattern 1 of immutableTags .* without a policy nobody may/,
          );
        }
      } finally {
        await client.cleanUp();
        await image.remove();
      }
    }
  });
}
