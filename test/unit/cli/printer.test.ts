import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createPrinter } from '../../../src/cli/clean/printer.ts';

/** A terminal, or a pipe whose reader takes nothing until it is told to. */
function createOutput({ isTTY = false } = {}) {
  const taken: string[] = [];
  let take = () => {};
  let isReading = isTTY;
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      taken.push(chunk.toString());
      if (isReading) done();
      else take = done;
    },
  });
  const read = () => {
    isReading = true;
    take();
  };
  return { output: Object.assign(stream, { isTTY, columns: 80 }), taken, read };
}

const mebibyte = 1024 * 1024;

test('a reader who does not read is waited for after 16 MiB', async () => {
  const { output, read } = createOutput();
  const printer = createPrinter(output, true);
  const piece = `${'x'.repeat(mebibyte - 1)}\n`;
  let printed = 0;
  const printing = (async () => {
    for (let each = 0; each < 40; each += 1) {
      await printer.print(piece);
      printed += 1;
    }
    await printer.end();
  })();
  for (let turns = 0; turns < 200; turns += 1) await turn();
  assert.equal(printed, 16);
  read();
  await printing;
  assert.equal(printed, 40);
});

test('on a terminal lines are broken between words, also where a piece ends in one', async () => {
  const { output, taken } = createOutput({ isTTY: true });
  const printer = createPrinter(output, true);
  const words = 'word '.repeat(30).trim();
  for (const piece of [`  ${words.slice(0, 50)}`, `${words.slice(50)}\nshort`, ' end'])
    await printer.print(piece);
  await printer.end();
  const text = taken.join('');
  assert.ok(text.split('\n').every(({ length }) => length <= 80));
  assert.equal(text.replaceAll(/\n {4}/g, ' '), `  ${words}\nshort end`);
});

test('what is for programs is not touched', async () => {
  const { output, taken } = createOutput({ isTTY: true });
  const printer = createPrinter(output, false);
  await printer.print('{ "a": "'.padEnd(200, 'b '));
  await printer.end();
  assert.deepEqual(taken, ['{ "a": "'.padEnd(200, 'b ')]);
});
