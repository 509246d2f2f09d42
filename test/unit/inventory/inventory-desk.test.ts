import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createInventoryDesk } from '../../../src/inventory/inventory-desk.ts';
import { anonymous, type Principal } from '../../../src/registry/principal.ts';
import { allOf, makeRecordFolder, openRecord, pushOf, writeUses } from '../../support/inventory.ts';

const digest = `sha256:${'a'.repeat(64)}`;

test('who has not logged in sees what is there, but no names of users', (t) => {
  const record = openRecord(makeRecordFolder(t));
  t.after(() => record.close());
  writeUses(record, [pushOf('open/app', 'v1', digest, 1000, 'alice'), pushOf('hidden', 'v1', digest, 1000)]);
  const desk = createInventoryDesk();
  const perform = (call: Parameters<typeof desk.perform>[0]) =>
    desk.perform(call, record.inventory, Date.now());
  const rules = [
    { who: ['anonymous'], repositories: ['open/**'], actions: ['pull' as const] },
    { who: ['authenticated'], repositories: ['**'], actions: ['pull' as const] },
  ];
  perform({ ask: 'policy', policy: { policy: rules, groups: {} } });
  const pushers = (principal: Principal) => {
    const list = perform({ ask: 'list', question: { ...allOf(''), principal } });
    const tags = [{ names: ['v1'] }, { digest }].map((of) =>
      perform({ ask: 'tags', question: { principal, repository: 'open/app', of } }),
    );
    const rowsOf = (found: unknown) =>
      (Array.isArray(found) ? found : (found as { rows: unknown[] }).rows) as { pushedBy: string | null }[];
    return [list, ...tags].map((found) => rowsOf(found).map(({ pushedBy }) => pushedBy));
  };
  assert.deepEqual(pushers(anonymous), [[null], [null], [null]]);
  assert.deepEqual(pushers({ kind: 'user', name: 'bob' }), [['alice', 'alice'], ['alice'], ['alice']]);
});
