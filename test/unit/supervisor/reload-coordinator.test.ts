import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { ServedState } from '../../../src/app/served-state.ts';
import type { ToWorker } from '../../../src/supervisor/workers/messages.ts';
import {
  createReloadCoordinator,
  type ReloadCoordinator,
} from '../../../src/supervisor/reload-coordinator.ts';
import { OperatorError } from '../../../src/system/operator-error.ts';

const first = { pem: { cert: 'first' } } as ServedState;
const second = { pem: { cert: 'second' } } as ServedState;

/** A worker that does what the test says; `heard` is what it was told. */
function createMember(rounds: ReloadCoordinator) {
  const heard: (string | undefined)[] = [];
  const member = {
    heard,
    send: (message: ToWorker) => void heard.push(message.kind),
    join: () => rounds.join(member, ({ pem }) => void heard.push(`start ${pem.cert}`)),
    isReady: (...changed: string[]) => rounds.heard(member, { kind: 'prepared', sentence: null, changed }),
    isNotReady: (sentence: string) => rounds.heard(member, { kind: 'prepared', sentence, changed: [] }),
    hasChanged: () => rounds.heard(member, { kind: 'committed' }),
    leave: () => rounds.leave(member),
  };
  return member;
}

describe('createStateRounds', () => {
  let rounds: ReloadCoordinator;
  let one: ReturnType<typeof createMember>;
  let two: ReturnType<typeof createMember>;
  beforeEach(() => {
    rounds = createReloadCoordinator(first);
    one = createMember(rounds);
    two = createMember(rounds);
    one.join();
    two.join();
  });
  const prepare = () => rounds.prepare(second, { rereads: true });
  const settled = async (promise: Promise<unknown>) => {
    let done = false;
    void promise.then(() => (done = true));
    await new Promise((resolve) => setImmediate(resolve));
    return done;
  };

  it('changes none before all are ready, and is done when all have changed', async () => {
    const preparing = prepare();
    one.isReady('auth.htpasswd');
    assert.equal(await settled(preparing), false);
    two.isReady('auth.htpasswd');
    const prepared = await preparing;
    assert.deepEqual(prepared.changed, ['auth.htpasswd']);
    assert.deepEqual(one.heard, ['start first', 'prepare']);
    const committing = prepared.commit();
    one.hasChanged();
    assert.equal(await settled(committing), false);
    two.hasChanged();
    await committing;
    assert.deepEqual([one.heard, two.heard], Array(2).fill(['start first', 'prepare', 'commit']));
  });

  it('changes none when one is not ready', async () => {
    const preparing = prepare();
    one.isReady();
    two.isNotReady('htpasswd is missing.');
    await assert.rejects(preparing, new OperatorError('htpasswd is missing.'));
    assert.deepEqual([one.heard, two.heard], Array(2).fill(['start first', 'prepare', 'abandon']));
  });

  it('changes none when one ends before it is ready', async () => {
    const preparing = prepare();
    one.isReady();
    two.leave();
    await assert.rejects(preparing, /ended while it prepared the reload/);
    assert.deepEqual(one.heard, ['start first', 'prepare', 'abandon']);
  });

  it('does not wait for one that ends instead of changing', async () => {
    const preparing = prepare();
    one.isReady();
    two.isReady();
    const committing = (await preparing).commit();
    one.hasChanged();
    two.leave();
    await committing;
  });

  it('starts one that comes meanwhile when the change is over, with what is in effect then', async () => {
    const three = createMember(rounds);
    const gone = createMember(rounds);
    const preparing = prepare();
    three.join();
    gone.join();
    gone.leave();
    one.isReady();
    two.isReady();
    const prepared = await preparing;
    assert.deepEqual(three.heard, []);
    const committing = prepared.commit();
    one.hasChanged();
    two.hasChanged();
    await committing;
    assert.deepEqual([three.heard, gone.heard], [['start second'], []]);

    const again = rounds.prepare(first, { rereads: false });
    const four = createMember(rounds);
    four.join();
    one.isNotReady('no.');
    two.isReady();
    three.isReady();
    await assert.rejects(again);
    assert.deepEqual(four.heard, ['start second']);
  });

  it('goes back to nothing when it is given up', async () => {
    const preparing = prepare();
    one.isReady();
    two.isReady();
    await (await preparing).abandon();
    const three = createMember(rounds);
    three.join();
    assert.deepEqual(three.heard, ['start first']);
    assert.equal(one.heard.at(-1), 'abandon');
  });
});
