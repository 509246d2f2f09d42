import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { assertRefused, startDeletingPair, type DeletingPair } from '../../support/deleting-pair.ts';
import { until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

describe(
  'a delete, with an instance that is lost to the others',
  { skip: unlessInstalled('redis-server'), timeout: 550_000 },
  () => {
    let pair: DeletingPair;
    beforeEach(async () => {
      pair = await startDeletingPair();
    });
    afterEach(() => pair.close());

    test('one that was killed is waited for until it is taken for gone, also by a list that was lost', async () => {
      assert.equal((await pair.remove(0, 'other')).status, 202);
      const killed = once(pair.second.process, 'exit');
      pair.second.process.kill('SIGKILL');
      await killed;
      await pair.redis.admin.flushall();
      assertRefused(await pair.remove(0, 'other'));
      assert.equal((await pair.push(0, 'other')).status, 201);
      await until('it is taken for gone', async () => (await pair.remove(0, 'other')).status === 202, 30_000);
    });

    test('one whose new connections get no answer is heard again when later ones do', async () => {
      assert.equal((await pair.remove(1, 'other')).status, 202);
      const before = pair.relay.connections();
      pair.relay.swallow(true);
      pair.relay.cut();
      await until('both of its connections are new', () => pair.relay.connections() >= before + 2);
      pair.relay.swallow(false);
      for (const i of [0, 1] as const)
        await until('deletes are back', async () => (await pair.remove(i, 'other')).status === 202, 30_000);
    });

    test('a delete under way whose freeze is not sure any more is broken off', async () => {
      const removed = pair.remove(0, 'app');
      await pair.arrived('DELETE');
      pair.relay.stall();
      await assert.rejects(removed, { code: 'ECONNRESET' });
      pair.relay.flow();
    });
  },
);
