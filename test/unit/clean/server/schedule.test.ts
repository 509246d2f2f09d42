import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { GraceWait } from '../../../../src/clean/channel/grace-wait.ts';
import type { HandledSchedule } from '../../../../src/clean/server/schedule-record.ts';
import { openSchedule, type Schedule } from '../../../../src/clean/server/schedule.ts';
import { until } from '../../../support/redis.ts';

const everySecond = '* * * * * *';
/** Comes on 29 February alone. */
const rare = '0 0 29 2 *';
const longAgo = Date.UTC(2020, 0, 1);

type Tried = {
  readonly schedule: Schedule;
  /** How often a run was begun. */
  runs(): number;
  /** How often it was asked what was handled. */
  reads(): number;
  /** Ends the run that goes on. */
  end(): void;
  readonly record: { value: HandledSchedule | null };
  readonly said: readonly string[];
};

function open(
  t: TestContext,
  {
    expression = everySecond,
    last = null,
    isBusy = () => false,
    findWait = () => null,
    isFree = true,
    isLong = false,
  }: {
    expression?: string | null;
    last?: HandledSchedule | null;
    isBusy?: () => boolean;
    findWait?: () => GraceWait | null;
    isFree?: boolean;
    isLong?: boolean;
  } = {},
): Tried {
  let runs = 0;
  let reads = 0;
  let running = false;
  let end = () => {};
  const record = { value: last };
  const said: string[] = [];
  const note = (_: unknown, message?: string) => void said.push(message ?? '');
  const schedule = openSchedule(expression, {
    record: {
      read: () => {
        reads += 1;
        return Promise.resolve(record.value);
      },
      note: (value) => Promise.resolve(void (record.value = value)),
    },
    isBusy: () => running || isBusy(),
    findWait: () => Promise.resolve(findWait()),
    isFree: () => isFree,
    run: async () => {
      assert.ok(!running, 'two at once');
      runs += 1;
      running = isLong;
      if (isLong) await new Promise<void>((resolve) => (end = resolve));
      running = false;
    },
    logger: { info: note, warn: note, error: note },
  });
  t.after(() => schedule.stop());
  return { schedule, runs: () => runs, reads: () => reads, end: () => end(), record, said };
}

describe('the schedule of the clean-up', { timeout: 240_000, concurrency: true }, () => {
  test('begins a run each time, and notes it', async (t) => {
    const tried = open(t);
    await until('two runs', () => tried.runs() === 2);
    assert.equal(tried.record.value?.schedule, everySecond);
    assert.ok(tried.record.value.handledAt > longAgo);
  });

  test('what comes while another job runs is begun when it has ended, once', async (t) => {
    let isBusy = true;
    let looks = 0;
    const tried = open(t, {
      isBusy: () => {
        looks += 1;
        return isBusy;
      },
      isLong: true,
    });
    await until('it has come several times', () => looks >= 3);
    assert.equal(tried.runs(), 0);
    assert.equal(tried.schedule.due?.until, null);
    isBusy = false;
    tried.schedule.look();
    await until('it runs', () => tried.runs() === 1);
    assert.equal(tried.schedule.due, null);
    // Its own successor comes while it runs itself.
    await until('the next one is due', () => tried.schedule.due !== null);
    assert.equal(tried.runs(), 1);
    tried.end();
    await until('the next one runs', () => tried.runs() === 2);
    tried.end();
  });

  test('a run that was missed is made up for, once', async (t) => {
    const tried = open(t, { expression: rare, last: { schedule: rare, handledAt: longAgo } });
    await until('it runs', () => tried.runs() === 1);
    await until('it is noted', () => (tried.record.value?.handledAt ?? 0) > longAgo);
    const again = open(t, { expression: rare, last: tried.record.value });
    await until('it was read', () => again.reads() === 1);
    await setImmediate();
    assert.deepEqual([again.runs(), again.said], [0, []]);
  });

  for (const [why, options] of [
    ['nothing is known', { last: null }],
    ['another schedule was in effect', { last: { schedule: '0 0 1 1 *', handledAt: longAgo } }],
    ['none was', { last: { schedule: null, handledAt: longAgo } }],
    ['runs pause writes', { last: { schedule: rare, handledAt: longAgo }, isFree: false }],
  ] as const)
    test(`nothing is made up for when ${why}`, async (t) => {
      const tried = open(t, { expression: rare, ...options });
      await until('it is noted', () => (tried.record.value?.handledAt ?? 0) > longAgo);
      assert.deepEqual([tried.record.value?.schedule, tried.runs(), tried.schedule.due], [rare, 0, null]);
    });

  test('a run that would be refused for a time is put off until then', async (t) => {
    const untilMs = Date.now() + 1500;
    const tried = open(t, {
      ...{ expression: rare, last: { schedule: rare, handledAt: longAgo } },
      findWait: () => (Date.now() < untilMs ? { untilMs, why: 'Too early.' } : null),
    });
    await until('it is put off', () => tried.schedule.due?.until === untilMs);
    assert.equal(tried.schedule.due?.why, 'Too early.');
    assert.equal(tried.schedule.next?.getTime(), untilMs);
    assert.equal(tried.record.value?.handledAt, longAgo);
    await until('it runs', () => tried.runs() === 1);
    assert.ok(Date.now() >= untilMs);
    assert.equal(tried.said.filter((message) => message === 'scheduled run put off').length, 1);
  });

  test('it is put off twice at most, and then begun to be refused', async (t) => {
    const tried = open(t, {
      ...{ expression: rare, last: { schedule: rare, handledAt: longAgo } },
      findWait: () => ({ untilMs: Date.now() + 20, why: 'Restarted again.' }),
    });
    await until('it runs', () => tried.runs() === 1);
    assert.equal(tried.said.filter((message) => message === 'scheduled run put off').length, 2);
  });

  test('where runs pause writes it waits for a time of the schedule', async (t) => {
    const next = new Date(Date.now() + 3_600_000);
    const tried = open(t, {
      isFree: false,
      findWait: () => ({ untilMs: next.getTime() - 1, why: 'Too early.' }),
      expression: everySecond,
    });
    await until('it is put off', () => tried.schedule.due !== null);
    await until('to a whole second', () => (tried.schedule.due?.until ?? 0) > 0);
    const at = tried.schedule.due?.until ?? 0;
    assert.equal(at % 1000, 0);
    assert.ok(at >= next.getTime() - 1 && at <= next.getTime() + 1000);
  });

  test('another configuration is looked at at once, and another expression ends what is due', async (t) => {
    let wait: GraceWait | null = { untilMs: Date.now() + 3_600_000, why: 'Too early.' };
    const tried = open(t, {
      ...{ expression: rare, last: { schedule: rare, handledAt: longAgo } },
      findWait: () => wait,
    });
    await until('it is put off', () => tried.schedule.due?.until === wait?.untilMs);
    wait = null;
    tried.schedule.use(rare);
    await until('it runs', () => tried.runs() === 1);
    wait = { untilMs: Date.now() + 3_600_000, why: 'Too early.' };
    tried.schedule.use(everySecond);
    await until('it is put off', () => tried.schedule.due?.until != null);
    tried.schedule.use(null);
    assert.deepEqual([tried.schedule.due, tried.schedule.next], [null, null]);
  });
});
