import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { CacheStore, Slot } from '../../src/cache/stores/store.ts';
import { openTestStore, type TestStore } from '../support/redis-store.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { unlessInstalled } from '../support/requirement.ts';

const slot: Slot = { scope: 'v2:app', item: 'latest', variant: 'a' };
const bytes = 8000;

describe('lookups in a Redis that instances share', { skip: unlessInstalled('redis-server') }, () => {
  let server: RedisServer;
  let one: TestStore;
  before(async () => {
    server = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] });
  });
  after(() => server.stop());
  beforeEach(async () => {
    await server.admin.flushall();
    one = openTestStore({ address: server.address });
    await one.trusted();
  });
  afterEach(async () => {
    await one.store.close();
  });

  const figure = async (section: string, form: RegExp) =>
    Number(form.exec(await server.admin.info(section))?.[1] ?? 0);
  const scriptCalls = () => figure('commandstats', /cmdstat_evalsha:calls=(\d+)/);

  test('32 clients that ask for one answer cost two lookups at a time', async () => {
    await fill(one.store, manifest());
    const before = await scriptCalls();
    const rounds = 20;
    const client = async () => {
      for (let i = 0; i < rounds; i += 1) assert.equal((await one.store.lookup(slot)).kind, 'found');
    };
    await Promise.all(Array.from({ length: 32 }, client));
    const calls = (await scriptCalls()) - before;
    assert.ok(calls <= 2 * rounds, `${calls} lookups in ${rounds} rounds`);
  });
});

/** A value as it is stored: the hash of the rest, and the rest. */
function manifest(): Buffer {
  const content = randomBytes(bytes);
  return Buffer.concat([createHash('sha256').update(content).digest(), content]);
}

async function fill(store: CacheStore, value: Buffer): Promise<void> {
  const lookup = await store.lookup(slot);
  assert.notEqual(lookup.kind, 'unavailable');
  const ticket = lookup.kind === 'unavailable' ? '' : lookup.ticket;
  assert.equal((await store.fill(slot, ticket, value, 0)).stored, true);
}
