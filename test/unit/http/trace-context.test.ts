import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { continueTrace, readTraceContext } from '../../../src/http/trace-context.ts';

const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
const parent = '00f067aa0ba902b7';
const id = '0123456789abcdef0011223344556677';
const ownTrace = { requestId: id, traceparent: `00-${id}-0123456789abcdef-01`, tracestate: null };
const told = (...rawHeaders: string[]) => continueTrace(id, readTraceContext(rawHeaders));

describe('X-Request-Id', () => {
  const longest = 'x'.repeat(128);
  for (const given of ['1', 'A-b.c_d:e/f+g=', 'b7f3c2d0-9d0a-4b52-8a43-0f8bd0f5a111', longest]) {
    test(`${given.slice(0, 40)} is taken over`, () => {
      assert.deepEqual(told('Host', 'a', 'x-REQUEST-id', given), { ...ownTrace, requestId: given });
      assert.equal(readTraceContext(['X-Request-Id', given]).clientRequestId, given);
    });
  }
  for (const given of [
    '',
    `${longest}x`,
    'a b',
    'a\tb',
    'a"b',
    'a\\b',
    '<b>',
    "a';--",
    'a,b',
    'caf\xe9',
    '%0a',
    '$(x)',
    'a\x00',
  ]) {
    test(`${JSON.stringify(given).slice(0, 40)} is not`, () =>
      assert.deepEqual(told('X-Request-Id', given), ownTrace));
  }
  test('two of them are none', () =>
    assert.deepEqual(told('X-Request-Id', 'a', 'X-Request-Id', 'a'), ownTrace));
});

describe('traceparent', () => {
  for (const [given, flags] of [
    [`00-${trace}-${parent}-00`, '00'],
    [`00-${trace}-${parent}-01`, '01'],
    [`00-${trace}-${parent}-03`, '01'],
    [`00-${trace}-${parent}-fe`, '00'],
    [`01-${trace}-${parent}-01`, '01'],
    [`cc-${trace}-${parent}-01-what-the-future-will-be-like`, '01'],
    [`fe-${trace}-${parent}-00-`, '00'],
  ] as const) {
    test(`${given} goes on`, () =>
      assert.deepEqual(told('Traceparent', given), {
        requestId: id,
        traceparent: `00-${trace}-0123456789abcdef-${flags}`,
        tracestate: null,
      }));
  }
  for (const given of [
    '',
    `ff-${trace}-${parent}-01`,
    `00-${trace}-${parent}-01-`,
    `00-${trace}-${parent}-01-extra`,
    `00-${'0'.repeat(32)}-${parent}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
    `00-${trace.toUpperCase()}-${parent}-01`,
    `00-${trace.slice(1)}-${parent}-01`,
    `00-${trace}0-${parent}-01`,
    `00-${trace}-${parent}-1`,
    `00-${trace}-${parent}-0x`,
    `0-${trace}-${parent}-01`,
    `cc-${trace}-${parent}-01.extra`,
    `00_${trace}_${parent}_01`,
    `00-${trace}-${parent}-01\n`,
    ` 00-${trace}-${parent}-01`,
  ]) {
    test(`${JSON.stringify(given)} does not, nor its tracestate`, () =>
      assert.deepEqual(told('traceparent', given, 'tracestate', 'a=1'), ownTrace));
  }
  test('two of them are none', () => {
    const one = ['traceparent', `00-${trace}-${parent}-01`];
    assert.deepEqual(told(...one, ...one), ownTrace);
  });
  test('of its state alone nothing is made', () => assert.deepEqual(told('tracestate', 'a=1'), ownTrace));
});

describe('tracestate', () => {
  const stateOf = (...values: string[]) =>
    told('traceparent', `00-${trace}-${parent}-01`, ...values.flatMap((value) => ['tracestate', value]))
      .tracestate;
  const member = (i: number, length: number) => `k${i}=${'v'.repeat(length - `k${i}=`.length)}`;
  for (const [given, expected] of [
    [['a=1'], 'a=1'],
    [['a=1,b=2', 'c=3'], 'a=1,b=2,c=3'],
    [[' a=1 ,\tb=2,, '], 'a=1,b=2'],
    [['fw529a3039@dt=FfAAAAA, 0a@b=x y!'], 'fw529a3039@dt=FfAAAAA,0a@b=x y!'],
    [[''], null],
    [['a'], null],
    [['a='], null],
    [['=1'], null],
    [['A=1'], null],
    [['1=1'], null],
    [['a=1=2'], null],
    [['a=1,a=2'], null],
    [['a=caf\xe9'], null],
    [['a=1,b=\x00'], null],
    [
      [Array.from({ length: 32 }, (_, i) => `k${i}=1`).join()],
      Array.from({ length: 32 }, (_, i) => `k${i}=1`).join(),
    ],
    [[Array.from({ length: 33 }, (_, i) => `k${i}=1`).join()], null],
  ] as const) {
    test(JSON.stringify(given).slice(0, 60), () => assert.equal(stateOf(...given), expected));
  }
  test('of a longer one than 512 characters whole members go, the last first', () => {
    const members = [member(1, 250), member(2, 250), member(3, 50), 'z=1'];
    assert.equal(stateOf(members.join()), members.slice(0, 2).join());
    assert.equal(stateOf([member(1, 250), member(2, 250), member(3, 10)].join())?.length, 512);
  });
});
