import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, describe, it } from 'node:test';
import {
  abandonedWriteMs,
  entryOverheadBytes,
  maxWordBytes,
  wordBytes,
  type CacheStore,
  type CacheWrite,
  type Slot,
  type StoreLimits,
} from '../../src/cache/stores/store.ts';
import { until } from '../support/redis.ts';

/** What is asked through `reader` and told through `writer` is the same store, in one process or in several. */
export type OpenStore = {
  readonly writer: CacheStore;
  /** Where the reader finds what is filled: the writer, or the reader itself where each process has entries of its own. */
  readonly filler: CacheStore;
  readonly reader: CacheStore;
  /** Lets time pass for the store. */
  readonly pass: (ms: number) => Promise<void>;
  close(): Promise<void>;
};

export type CacheStoreSubject = {
  readonly name: string;
  readonly skip: string | false;
  /** Starts what the stores need. */
  start(): Promise<void>;
  /** Opens an empty store, ready for use. */
  open(limits: StoreLimits): Promise<OpenStore>;
  stop(): Promise<void>;
};

const limits: StoreLimits = { maxBytes: 1024 * 1024, ttlMs: 60_000 };
const slot: Slot = { scope: 'library/app', item: 'latest', variant: 'a' };
const value = Buffer.from('the first manifest');
const newer = Buffer.from('the second manifest');

/** The tests that every {@link CacheStore} passes. */
export function describeCacheStore(subject: CacheStoreSubject): void {
  describe(`cache store: ${subject.name}`, { skip: subject.skip }, () => {
    let opened: OpenStore | undefined;
    const open = async (special: Partial<StoreLimits> = {}): Promise<OpenStore> => {
      opened = await subject.open({ ...limits, ...special });
      return opened;
    };
    before(() => subject.start());
    afterEach(async () => {
      await opened?.close();
      opened = undefined;
    });
    after(() => subject.stop());

    it('finds what was filled, byte for byte, through every instance', async () => {
      const { filler, reader } = await open();
      const values = [
        Buffer.alloc(0),
        Buffer.from([0, 1, 0x0d, 0x0a, 0x7c, 0xff, 0xfe, 0]),
        randomBytes(300_000),
      ];
      for (const [i, bytes] of values.entries()) {
        const at = { ...slot, item: `item${i}` };
        assert.equal(await fill(filler, at, bytes), true);
        assert.deepEqual(await found(reader, at), bytes);
        assert.deepEqual(await found(filler, at), bytes);
      }
    });

    it('tells scopes, items and variants apart', async () => {
      const { filler, reader } = await open();
      await fill(filler, slot, value);
      for (const other of [
        { ...slot, scope: 'library/ap' },
        { ...slot, scope: 'library' },
        { ...slot, item: 'lates' },
        { ...slot, item: 'latest2' },
        { ...slot, variant: 'b' },
        { scope: 'library/app\nlatest', item: 'a', variant: '' },
        { scope: '', item: '', variant: '' },
      ]) {
        assert.equal(await found(reader, other), null, JSON.stringify(other));
      }
      assert.deepEqual(await found(reader, slot), value);
    });

    it('keeps names of any bytes apart too', async () => {
      const { filler, reader } = await open();
      const names = ['*', '[a-z]', 'é', '\u0000', '%d+|', '9|x', 'generation', 'base', 'writes', '#', '{x}'];
      for (const name of names)
        await fill(filler, { scope: name, item: name, variant: name }, Buffer.from(name));
      for (const name of names) {
        assert.equal((await found(reader, { scope: name, item: name, variant: name }))?.toString(), name);
      }
    });

    it('replaces a value', async () => {
      const { filler, reader } = await open();
      await fill(filler, slot, value);
      await fill(filler, slot, newer);
      assert.deepEqual(await found(reader, slot), newer);
      assert.equal((await reader.stats())?.entries, 1);
    });

    it('forgets an item that was written, and no other', async () => {
      const { writer, reader } = await open();
      const others = [
        { ...slot, item: 'stable' },
        { ...slot, scope: 'library/other' },
      ];
      const variants = [slot, { ...slot, variant: 'b' }];
      for (const at of [...variants, ...others]) await fill(reader, at, value);
      await write(writer, { scope: slot.scope, items: [slot.item] });
      for (const at of variants) assert.equal(await found(reader, at), null);
      for (const at of others) assert.deepEqual(await found(reader, at), value);
    });

    it('forgets all items of a scope when all were written, and no other scope', async () => {
      const { writer, reader } = await open();
      const other = { ...slot, scope: 'library/other' };
      const mine = ['latest', 'stable', 'sha256:1'].map((item) => ({ ...slot, item }));
      for (const at of [...mine, other]) await fill(reader, at, value);
      await write(writer, { scope: slot.scope, items: 'all' });
      for (const at of mine) assert.equal(await found(reader, at), null);
      assert.deepEqual(await found(reader, other), value);
    });

    it('finds nothing of the items from the beginning of a write until its end', async () => {
      const { writer, reader } = await open();
      await fill(reader, slot, value);
      const change = changeOf({});
      assert.equal(await writer.beginWrite(change), true);
      assert.equal(await found(reader, slot), null);
      assert.equal(await writer.endWrite(change), true);
      assert.equal(await found(reader, slot), null);
      assert.equal(await fill(reader, slot, newer), true);
      assert.deepEqual(await found(reader, slot), newer);
    });

    for (const [when, items] of [
      ['the item', ['latest']],
      ['another item of the scope', ['stable']],
      ['the whole scope', 'all'],
    ] as const) {
      it(`refuses a fill whose ticket is from before a write to ${when}`, async () => {
        const { writer, reader } = await open();
        const ticket = await ticketOf(reader, slot);
        await write(writer, { items });
        assert.equal((await reader.fill(slot, ticket, value, 0)).stored, false);
        assert.equal(await found(reader, slot), null);
        assert.notEqual(await ticketOf(reader, slot), ticket);
      });
    }

    it('refuses a fill whose ticket is from the time between the beginning and the end of a write', async () => {
      const { writer, reader } = await open();
      const change = changeOf({});
      await writer.beginWrite(change);
      const ticket = await ticketOf(reader, slot);
      assert.equal((await reader.fill(slot, ticket, value, 0)).stored, false, 'while it is under way');
      await writer.endWrite(change);
      assert.equal((await reader.fill(slot, ticket, value, 0)).stored, false, 'after it');
      assert.equal(await found(reader, slot), null);
    });

    it('takes a fill in another scope while a write is under way', async () => {
      const { writer, reader } = await open();
      await writer.beginWrite(changeOf({}));
      assert.equal(await fill(reader, { ...slot, scope: 'library/other' }, value), true);
    });

    it('gives tickets that are equal as long as nothing was written', async () => {
      const { writer, filler, reader } = await open();
      const ticket = await ticketOf(reader, slot);
      await fill(filler, { ...slot, item: 'stable' }, value);
      await write(writer, { scope: 'library/other', items: 'all' });
      assert.equal(await ticketOf(filler, slot), ticket);
    });

    it('does not take a ticket of another item or scope', async () => {
      const { writer, reader } = await open();
      await write(writer, { items: ['stable'] });
      const foreign = await ticketOf(reader, { ...slot, item: 'stable' });
      assert.equal((await reader.fill(slot, foreign, value, 0)).stored, false);
      const ticket = await ticketOf(reader, slot);
      assert.equal((await reader.fill({ ...slot, scope: 'library/other' }, ticket, value, 0)).stored, false);
    });

    it('fills nothing before the last of two overlapping writes has ended', async () => {
      const { writer, reader } = await open();
      for (const endFirst of ['first', 'second'] as const) {
        const changes = { first: changeOf({}), second: changeOf({ items: ['stable'] }) };
        await writer.beginWrite(changes.first);
        await reader.beginWrite(changes.second);
        await (endFirst === 'first' ? writer : reader).endWrite(changes[endFirst]);
        assert.equal(await fill(reader, slot, value), false, `${endFirst} has ended`);
        const last = endFirst === 'first' ? 'second' : 'first';
        await (last === 'first' ? writer : reader).endWrite(changes[last]);
        assert.equal(await fill(reader, slot, value), true, 'both have ended');
      }
    });

    it('keeps the writes under way when all of the scope is written meanwhile', async () => {
      const { writer, reader } = await open();
      await writer.beginWrite(changeOf({}));
      await write(reader, { items: 'all' });
      assert.equal(await fill(reader, slot, value), false);
    });

    it('ends a write that it was not told of, and one twice', async () => {
      const { writer, reader } = await open();
      await fill(reader, slot, value);
      const change = changeOf({});
      assert.equal(await writer.endWrite(change), true);
      assert.equal(await writer.endWrite(change), true);
      assert.equal(await found(reader, slot), null);
      assert.equal(await fill(reader, slot, newer), true);
    });

    it('is kept from filling by a write that never ends for its time only, and never believes what was before', async () => {
      const { writer, reader, pass } = await open({ ttlMs: 10 * abandonedWriteMs });
      await fill(reader, slot, value);
      await writer.beginWrite(changeOf({}));
      await pass(abandonedWriteMs - 1000);
      assert.equal(await fill(reader, slot, newer), false);
      assert.equal(await found(reader, slot), null);
      await pass(1001);
      assert.equal(await found(reader, slot), null);
      assert.equal(await fill(reader, slot, newer), true);
      assert.deepEqual(await found(reader, slot), newer);
    });

    it('does not answer an entry for longer than its time to live, counted from when it was asked for', async () => {
      const { filler, reader, pass } = await open();
      const old = { ...slot, item: 'old' };
      await fill(filler, slot, value);
      assert.equal((await filler.fill(old, await ticketOf(filler, old), value, 20_000)).stored, true);
      const tooOld = { ...slot, item: 'too old' };
      assert.equal((await filler.fill(tooOld, await ticketOf(filler, tooOld), value, 60_000)).stored, false);
      await pass(39_000);
      assert.deepEqual(await found(reader, old), value);
      await pass(1001);
      assert.equal(await found(reader, old), null);
      assert.deepEqual(await found(reader, slot), value);
      await pass(20_000);
      assert.equal(await found(reader, slot), null);
    });

    it('does not live longer for being asked for', async () => {
      const { filler, reader, pass } = await open();
      await fill(filler, slot, value);
      for (let i = 0; i < 3; i += 1) {
        assert.deepEqual(await found(reader, slot), value);
        await pass(20_001);
      }
      assert.equal(await found(reader, slot), null);
    });

    it('leaves nothing behind when it is only asked', async () => {
      const { filler, reader } = await open();
      const before = await reader.stats();
      for (let i = 0; i < 1000; i += 1)
        await ticketOf(reader, { scope: `v2:${i}${'a'.repeat(250)}`, item: 'x'.repeat(128), variant: 'a' });
      assert.deepEqual(await reader.stats(), before);
      assert.equal(await fill(filler, slot, value), true);
      assert.deepEqual(await found(reader, slot), value);
    });

    it('counts what writes leave as bytes, keeps it in bounds, and lets entries go for it', async () => {
      const maxBytes = 128 * 1024;
      const { writer, filler, reader } = await open({ maxBytes });
      for (let i = 0; i < 12; i += 1)
        assert.equal(await fill(filler, { ...slot, item: `item${i}` }, Buffer.alloc(10_000)), true);
      let most = 0;
      for (let i = 0; i < 400; i += 1) {
        await write(writer, { scope: `v2:${i}${'a'.repeat(250)}`, items: ['x'.repeat(128)] });
        const { entries, bytes } = (await reader.stats()) ?? { entries: -1, bytes: -1 };
        if (entries === 0) most = Math.max(most, bytes);
        const at = { ...slot, item: `item${i % 12}` };
        await fill(filler, at, Buffer.alloc(10_000));
        const filled = await filler.stats();
        assert.ok((filled?.bytes ?? Infinity) <= maxBytes, `${filled?.bytes} bytes with entries`);
      }
      assert.ok(most <= maxWordBytes(maxBytes), `${most} bytes without entries`);
    });

    it('refuses a fill from before a write of which nothing is remembered any more', async () => {
      const { writer, reader } = await open({ maxBytes: 64 * 1024 });
      const ticket = await ticketOf(reader, slot);
      await write(writer, {});
      for (let i = 0; i < 100; i += 1) await write(writer, { scope: `other${i}` });
      assert.equal((await reader.fill(slot, ticket, value, 0)).stored, false);
      assert.equal(await found(reader, slot), null);
    });

    it('forgets them all when more is written than can be remembered', async () => {
      const { writer, reader } = await open();
      const items = Array.from(
        { length: maxWordBytes(limits.maxBytes) / wordBytes + 1 },
        (_, i) => `tag${i}`,
      );
      const other = { ...slot, item: 'not written' };
      for (const at of [slot, other, { ...slot, item: 'tag0' }]) await fill(reader, at, value);
      for (let i = 0; i < items.length; i += 100) await write(writer, { items: items.slice(i, i + 100) });
      assert.equal(await found(reader, { ...slot, item: 'tag0' }), null);
      for (const at of [slot, other]) {
        const kept = await found(reader, at);
        assert.ok(kept === null || kept.equals(value));
      }
      assert.equal(await fill(reader, other, newer), true);
      await write(writer, { items: [other.item] });
      assert.equal(await found(reader, other), null);
    });

    it('passes by what is larger than it may be, and keeps the rest', async () => {
      const { filler, reader } = await open({ maxBytes: 64 * 1024 });
      await fill(filler, slot, value);
      const large = { ...slot, item: 'large' };
      assert.equal(await fill(filler, large, randomBytes(64 * 1024)), false);
      assert.equal(await found(reader, large), null);
      assert.deepEqual(await found(reader, slot), value);
    });

    it('lets the least recently used go first, and says how many', async () => {
      const { filler, reader } = await open({ maxBytes: 100_000 });
      const at = (i: number) => ({ ...slot, item: `item${i}` });
      for (let i = 0; i < 9; i += 1) await fill(filler, at(i), Buffer.alloc(10_000, i));
      assert.deepEqual(await found(reader, at(0)), Buffer.alloc(10_000, 0));
      const ticket = await ticketOf(filler, at(9));
      const { stored, evicted } = await filler.fill(at(9), ticket, Buffer.alloc(20_000), 0);
      assert.deepEqual({ stored, evicted }, { stored: true, evicted: 2 });
      const kept = await Promise.all(
        Array.from({ length: 10 }, async (_, i) => (await found(reader, at(i))) !== null),
      );
      assert.deepEqual(kept, [true, false, false, true, true, true, true, true, true, true]);
    });

    it('counts entries and bytes, changes nothing by counting', async () => {
      const { filler, reader } = await open();
      assert.deepEqual(await reader.stats(), { entries: 0, bytes: 0 });
      for (let i = 0; i < 1200; i += 1)
        await fill(filler, { ...slot, item: `item${i}` }, Buffer.alloc(i % 100));
      const stats = await reader.stats();
      assert.ok(stats);
      assert.equal(stats.entries, 1200);
      const valueBytes = Array.from({ length: 1200 }, (_, i) => i % 100).reduce((sum, n) => sum + n, 0);
      assert.ok(stats.bytes >= valueBytes + 1200 * entryOverheadBytes, String(stats.bytes));
      assert.ok(stats.bytes <= valueBytes + 1200 * (entryOverheadBytes + 200), String(stats.bytes));
      assert.deepEqual(await filler.stats(), stats);
      assert.deepEqual(await found(reader, { ...slot, item: 'item7' }), Buffer.alloc(7));
    });

    it('counts an entry once that was replaced by a larger one after its time', async () => {
      const { filler, reader, pass } = await open();
      await fill(filler, slot, value);
      await pass(60_001);
      await fill(filler, slot, Buffer.concat([value, value]));
      assert.equal((await reader.stats())?.entries, 1);
    });

    it('forgets all when it is renewed: no fill from before lands, and a write under way stays so', async () => {
      const { writer, filler, reader } = await open();
      const other = { ...slot, scope: 'library/other' };
      assert.equal(await fill(filler, slot, value), true);
      const ticket = await ticketOf(filler, other);
      const change = changeOf({});
      assert.equal(await writer.beginWrite(change), true);
      const stores = new Set([writer, filler, reader]);
      for (const store of stores) store.clear(limits.ttlMs);
      for (const store of stores) {
        await until('it can be asked again', async () => (await store.lookup(other)).kind !== 'unavailable');
        assert.equal(await found(store, slot), null);
      }
      assert.deepEqual(await filler.fill(other, ticket, value, 0), { stored: false, evicted: 0 });
      assert.equal(await fill(filler, slot, value), false, 'the write has not ended');
      assert.equal(await writer.endWrite(change), true);
      assert.equal(await fill(filler, slot, newer), true);
      assert.deepEqual(await found(reader, slot), newer);
    });

    it('keeps what is stored after a renewal for the time that came with it', async () => {
      const { filler, reader, writer, pass } = await open();
      const stores = new Set([writer, filler, reader]);
      for (const store of stores) store.clear(5000);
      for (const store of stores)
        await until('it can be asked again', async () => (await store.lookup(slot)).kind !== 'unavailable');
      assert.equal(await fill(filler, slot, value), true);
      await pass(5001);
      assert.equal(await found(reader, slot), null);
    });

    it('answers hundreds at the same time', async () => {
      const { filler, reader } = await open();
      const slots = Array.from({ length: 500 }, (_, i) => ({
        ...slot,
        scope: `scope${i % 50}`,
        item: `item${i}`,
      }));
      await Promise.all(slots.map((at, i) => fill(i % 2 === 0 ? filler : reader, at, Buffer.from(at.item))));
      const values = await Promise.all(slots.map((at) => found(reader, at)));
      assert.deepEqual(
        values.map(String),
        slots.map(({ item }) => item),
      );
    });
  });
}

async function ticketOf(store: CacheStore, at: Slot): Promise<string> {
  const lookup = await store.lookup(at);
  assert.notEqual(lookup.kind, 'unavailable');
  return lookup.kind === 'unavailable' ? '' : lookup.ticket;
}

/** Looks up and fills, as a miss does. */
async function fill(store: CacheStore, at: Slot, bytes: Buffer): Promise<boolean> {
  return (await store.fill(at, await ticketOf(store, at), bytes, 0)).stored;
}

async function found(store: CacheStore, at: Slot): Promise<Buffer | null> {
  const lookup = await store.lookup(at);
  assert.notEqual(lookup.kind, 'unavailable');
  return lookup.kind === 'found' ? lookup.value : null;
}

function changeOf(part: Partial<CacheWrite>): CacheWrite {
  return { id: randomBytes(8).toString('hex'), scope: slot.scope, items: [slot.item], ...part };
}

async function write(store: CacheStore, part: Partial<CacheWrite>): Promise<void> {
  const change = changeOf(part);
  assert.equal(await store.beginWrite(change), true);
  assert.equal(await store.endWrite(change), true);
}
