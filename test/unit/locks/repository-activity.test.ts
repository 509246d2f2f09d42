import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import {
  createRepositoryActivity,
  type HoldLimits,
  type Leave,
} from '../../../src/locks/repository-activity.ts';

const limits: HoldLimits = {
  ...{ waitMs: 1000, maxPerRepository: 2, maxInAll: 3 },
  signal: new AbortController().signal,
};
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function open() {
  const activity = createRepositoryActivity();
  const said: string[] = [];
  return {
    ...activity,
    said: async () => (await turn(), said.splice(0)),
    mustEnter: (...repositories: string[]): Leave => activity.enter(repositories) ?? assert.fail('frozen'),
    hold: (name: string, repositories: readonly string[], more: Partial<HoldLimits> = {}) => {
      const held = { leave: (() => {}) as Leave };
      void activity.wait(repositories, { ...limits, ...more }).then((outcome) => {
        said.push(`${name}: ${typeof outcome === 'string' ? outcome : 'in'}`);
        if (typeof outcome !== 'string') held.leave = outcome;
      });
      return held;
    },
    freezeAs: (repository: string, id: string) =>
      activity.freeze(repository, id, () => said.push(`${id}: quiet`)),
  };
}

test('a freeze is quiet when all have left, and holds who comes until its thaw', async () => {
  const { mustEnter, freezeAs, hold, thaw, enter, said } = open();
  const [one, two] = [mustEnter('app'), mustEnter('app')];
  freezeAs('app', 'f');
  assert.equal(enter(['app']), null);
  assert.notEqual(enter(['other']), null);
  hold('held', ['app']);
  one();
  one();
  assert.deepEqual(await said(), []);
  two();
  assert.deepEqual(await said(), ['f: quiet']);
  thaw('app', 'f');
  assert.deepEqual(await said(), ['held: in']);
  assert.notEqual(enter(['app']), null);
});

test('those who were held are in before the next freeze can be quiet', async () => {
  const { freezeAs, hold, thaw, said } = open();
  freezeAs('app', 'f');
  const held = hold('held', ['app']);
  thaw('app', 'f');
  freezeAs('app', 'g');
  assert.deepEqual(await said(), ['f: quiet', 'held: in']);
  held.leave();
  assert.deepEqual(await said(), ['g: quiet']);
});

test('what is in two repositories enters both or none', async () => {
  const { mustEnter, freezeAs, hold, thaw, said } = open();
  freezeAs('from', 'f');
  freezeAs('to', 't');
  hold('mount', ['to', 'from']);
  assert.deepEqual(await said(), ['f: quiet', 't: quiet']);
  thaw('from', 'f');
  assert.deepEqual(await said(), []);
  mustEnter('from')();
  thaw('to', 't');
  assert.deepEqual(await said(), ['mount: in']);
  freezeAs('from', 'again');
  assert.deepEqual(await said(), []);
});

test('held are so many for a repository, so many in all, and for so long', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const { freezeAs, hold, thaw, said } = open();
    const leaving = new AbortController();
    freezeAs('app', 'f');
    freezeAs('other', 'g');
    await said();
    hold('1', ['app'], { signal: leaving.signal });
    hold('2', ['app']);
    hold('3', ['app']);
    hold('4', ['other']);
    hold('5', ['other']);
    assert.deepEqual(await said(), ['3: crowded', '5: crowded']);
    leaving.abort();
    assert.deepEqual(await said(), ['1: gone']);
    hold('6', ['app'], { waitMs: 2000 });
    mock.timers.tick(1000);
    assert.deepEqual(await said(), ['2: late', '4: late']);
    thaw('app', 'f');
    thaw('other', 'g');
    assert.deepEqual(await said(), ['6: in']);
  } finally {
    mock.timers.reset();
  }
});

test('what upstream may be at still counts for a while after it has left', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const { mustEnter, freezeAs, said } = open();
    mustEnter('app')(500);
    freezeAs('app', 'f');
    mock.timers.tick(499);
    assert.deepEqual(await said(), []);
    mock.timers.tick(1);
    assert.deepEqual(await said(), ['f: quiet']);
  } finally {
    mock.timers.reset();
  }
});
