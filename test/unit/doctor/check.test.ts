import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { attempt, runChecks, type Check } from '../../../src/doctor/check.ts';
import { ok } from '../../../src/doctor/finding.ts';

const check = (name: string, run: Check['run'], limitMs = 60_000): Check => ({
  ids: [name, `${name}.rest`],
  limitMs,
  fix: 'fix it',
  run,
});
const never = new AbortController().signal;
const states = async (checks: readonly Check[], deadline = never) =>
  (await runChecks(checks, { deadline, onStart: () => {} })).map(({ check: id, state }) => `${id}: ${state}`);
const coded = (code: string) => Object.assign(new Error(code), { code });

describe('runChecks', () => {
  it('gives the findings in order, and says what it is at', async () => {
    const started: string[] = [];
    const checks = ['a', 'b'].map((name) => check(name, () => Promise.resolve([ok(name, 'Well.')])));
    const findings = await runChecks(checks, { deadline: never, onStart: (id) => started.push(id) });
    assert.deepEqual(findings, [ok('a', 'Well.'), ok('b', 'Well.')]);
    assert.deepEqual(started, ['a', 'b']);
  });

  it('takes a failure of the network for broken, and goes on', async () => {
    const checks = [
      check('a', () => Promise.reject(coded('ECONNRESET'))),
      check('b', () => Promise.resolve([ok('b', 'Well.')])),
    ];
    assert.deepEqual(await states(checks), ['a: broken', 'a.rest: skipped', 'b: ok']);
  });

  it('ends a check that takes too long, and what it has open', async () => {
    let wasEnded = false;
    const hanging = check(
      'a',
      (signal) =>
        new Promise(() => {
          signal.addEventListener('abort', () => (wasEnded = true));
        }),
      5,
    );
    assert.deepEqual(await states([hanging]), ['a: broken', 'a.rest: skipped']);
    assert.ok(wasEnded);
  });

  it('runs those of a group at once, so that one that hangs keeps no other from running', async () => {
    const order: string[] = [];
    let release = () => {};
    const first = check('a', async () => {
      await new Promise<void>((resolve) => (release = resolve));
      order.push('a');
      return [ok('a', 'Well.')];
    });
    const second = check('b', () => {
      order.push('b');
      release();
      return Promise.resolve([ok('b', 'Well.')]);
    });
    const findings = await runChecks([[first, second]], { deadline: never, onStart: () => {} });
    assert.deepEqual(order, ['b', 'a']);
    assert.deepEqual(findings, [ok('a', 'Well.'), ok('b', 'Well.')]);
  });

  it('skips what the deadline leaves no time for', async () => {
    const deadline = new AbortController();
    const first = check('a', () => {
      deadline.abort();
      return new Promise(() => {});
    });
    const second = check('b', () => Promise.resolve([ok('b', 'Well.')]));
    assert.deepEqual(await states([first, second], deadline.signal), [
      'a: broken',
      'a.rest: skipped',
      'b: skipped',
      'b.rest: skipped',
    ]);
  });

  it('does not take a fault of the program for a finding', async () => {
    await assert.rejects(states([check('a', () => Promise.reject(new TypeError('a fault')))]), /a fault/);
    await assert.rejects(
      attempt('a', 'mend', () => Promise.reject(new RangeError('another'))),
      /another/,
    );
  });
});
