import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { broken, ok, quoteForeign, skipped, warning, type Finding } from '../../../src/doctor/finding.ts';
import { formatJsonReport, formatReport, isAnyBroken } from '../../../src/doctor/report.ts';

const diagnosis = {
  url: 'https://reg.example.com',
  client: [ok('dns', 'Well.'), broken('tls.name', 'Not \u001B[31mvalid.', 'renew it')],
  operator: [warning('files.key', 'Hm.', 'chmod'), skipped('config', 'None.'), ok('x', 'Well.', 'a hint')],
};

describe('formatReport', () => {
  it('has columns, and what fixes it below', () => {
    assert.equal(
      formatReport(diagnosis, false),
      [
        'As a client: https://reg.example.com',
        '  ok       dns        Well.',
        '  broken   tls.name   Not \uFFFD[31mvalid.',
        '                      → renew it',
        '',
        'As an operator, on this machine',
        '  warning  files.key  Hm.',
        '                      → chmod',
        '  skipped  config     None.',
        '  ok       x          Well.',
        '                      → a hint',
        '',
        '2 ok, 1 warning, 1 broken, 1 skipped',
        '',
      ].join('\n'),
    );
  });

  it('has colours where they are asked for', () => {
    assert.match(formatReport(diagnosis, true), /^ {2}\u001B\[31mbroken \u001B\[0m {2}tls\.name/m);
  });
});

describe('formatJsonReport', () => {
  it('has everything, on one line', () => {
    const text = formatJsonReport(diagnosis);
    assert.equal(text.indexOf('\n'), text.length - 1);
    const withOldName = (findings: readonly Finding[]) =>
      findings.map((each) => ({ ...each, mend: each.fix }));
    assert.deepEqual(JSON.parse(text), {
      url: diagnosis.url,
      client: withOldName(diagnosis.client),
      operator: withOldName(diagnosis.operator),
      summary: { ok: 2, warning: 1, broken: 1, skipped: 1 },
    });
  });
});

describe('isAnyBroken', () => {
  it('looks at both sides, and at nothing less than broken', () => {
    assert.ok(isAnyBroken(diagnosis));
    assert.ok(!isAnyBroken({ ...diagnosis, client: [] }));
    assert.ok(isAnyBroken({ ...diagnosis, client: [], operator: diagnosis.client }));
  });
});

describe('quoteForeign', () => {
  it('takes out control characters, and what is too much', () => {
    assert.equal(quoteForeign(' a\r\n\tb '), 'a b');
    assert.equal(quoteForeign('x'.repeat(500)).length, 121);
  });
});
