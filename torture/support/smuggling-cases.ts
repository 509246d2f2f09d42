import { chunkFaults, framingAttacks } from '../../test/support/cases/framing.ts';
import { basic } from '../../test/support/front-door.ts';
import type { Random } from './random.ts';

/** Bytes that two parsers could split differently; all targets in them are below {@link caseRoot}. */
export type SmugglingCase = {
  readonly name: string;
  readonly bytes: string;
  /** Where the second write begins; at the end: only one write. */
  readonly cutAt: number;
};

/** The beginning of every target of a case. */
export const caseRoot = (number: number): string => `/v2/case-${number}/`;

const host = 'Host: registry.example';
const credentials = `Authorization: ${basic}`;

/** Values of Content-Length; `#` stands for the right one. */
const lengths: readonly string[] = [
  ...['#', '0', '#+1', '#-1', 'BIG', '+#', '-#', '-0', '0#', '000000000000000000000#', '0x#', '#.0', '#e0'],
  ...['#,#', '#, #', '#,0', '0, #', '# #', '#;x', '#,', ',#', '"#"', '#\t', '\t#', ' # ', '#\x0b', '\x0c#'],
  ...['#\0', '\xa0#', '#\xb2', '', ' ', '#\rX', '#\nX', '#\r\n ', '\r\n #', '18446744073709551616', '#_0'],
  ...['4294967296', '9223372036854775808', '99999999999999999999999999', 'NaN', 'Infinity', 'chunked', '0b1'],
];
const codings: readonly string[] = [
  ...['chunked', 'Chunked', 'CHUNKED', 'chunked ', '\tchunked', ' \t chunked \t', 'chunked;q=1', 'chunked,'],
  ...[',chunked', 'chunked, chunked', 'identity', 'identity, chunked', 'chunked, identity', 'gzip, chunked'],
  ...[
    'xchunked',
    'chunkedx',
    'x-chunked',
    '"chunked"',
    "'chunked'",
    'chu nked',
    'chunked\x0b',
    '\x0cchunked',
  ],
  ...[
    'chunked\0',
    '\0chunked',
    '\xa0chunked',
    'chunked\xa0',
    '\xfechunked',
    'ch\xfcnked',
    'c\thunked',
    '',
    ' ',
  ],
  ...[
    'chunked\r\n x',
    '\r\n chunked',
    '\r\n\tchunked',
    '\nchunked',
    '\rchunked',
    'chunked\r',
    'chunked\rX: y',
  ],
  ...[
    'chunked\nX: y',
    'trailers, chunked',
    'chunked;',
    'chunked; a="b',
    'cow',
    'compress',
    'deflate',
    '\x85chunked',
  ],
  ...['chunked,\0', 'chunked, ', ', chunked', 'Transfer-Encoding: chunked', 'chunk\u00eded', '\\chunked'],
];
/** Before and after a field's name. */
const names: readonly ((name: string) => string)[] = [
  (name) => name,
  (name) => name.toLowerCase(),
  (name) => name.toUpperCase(),
  (name) => `${name} `,
  (name) => `${name}\t`,
  (name) => `${name}\0`,
  (name) => `${name}\x0b`,
  (name) => ` ${name}`,
  (name) => `\t${name}`,
  (name) => `\0${name}`,
  (name) => `\x0b${name}`,
  (name) => `X: y\n${name}`,
  (name) => `X: y\r${name}`,
  (name) => `X: y\r\r\n${name}`,
  (name) => `X: y\0\r\n${name}`,
  (name) => `X:\n${name}`,
  (name) => `: x\r\n${name}`,
  (name) => `X\r\n${name}`,
  (name) => `\r${name}`,
  (name) => `\n${name}`,
  (name) => `\xef\xbb\xbf${name}`,
  (name) => name.replace('-', '_'),
  (name) => name.replace('-', ' '),
  (name) => name.replace('-', '\xad'),
  (name) => name.replace('-', '-\r\n '),
  (name) => name.replace('-', '\u0096'),
  (name) => name.replace('e', '\xe9'),
  (name) => name.replace('-', '--'),
  (name) => `X-${name}`,
  (name) => `${name}:`,
  (name) => `(${name})`,
  (name) => `"${name}"`,
];
const expectations: readonly string[] = [
  ...['Expect: 100-continue', 'Expect: 100-Continue', 'expect:100-continue', 'Expect: 100-continue\t'],
  ...[
    'Expect: 100-continue, 100-continue',
    'Expect: y 100-continue',
    'Expect: 100-continue\r\nExpect: 100-continue',
  ],
  ...[
    'Expect:',
    'Expect: 200-ok',
    'Expect: \x0b100-continue',
    'Expect:\r\n 100-continue',
    'Expect : 100-continue',
  ],
];
const connections: readonly string[] = [
  ...[
    'close',
    'keep-alive',
    'close, Content-Length',
    'Content-Length',
    'Transfer-Encoding',
    'Authorization, Host',
  ],
  ...[
    'keep-alive, Transfer-Encoding',
    'Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__',
    'TE\r\nTE: trailers',
  ],
  ...[
    'Upgrade\r\nUpgrade: websocket',
    'close\r\nConnection: keep-alive',
    'X-Forwarded-For',
    ',,,',
    'Expect',
    '\x0bclose',
  ],
];
const requestLines: readonly string[] = [
  ...['M T HTTP/1.1', 'M T HTTP/1.0', 'M T HTTP/1.2', 'M T HTTP/0.9', 'M T HTTP/2.0', 'M T', 'M  T HTTP/1.1'],
  ...['M\tT\tHTTP/1.1', 'M T HTTP/1.1 ', 'M T HTTP/1.1\t', 'M T http/1.1', 'M T HTTP/1.10', 'M T HTTP/01.1'],
  ...[
    'M T HTTP/1.1\0',
    ' M T HTTP/1.1',
    '\r\nM T HTTP/1.1',
    '\nM T HTTP/1.1',
    '\rM T HTTP/1.1',
    'M T\rHTTP/1.1',
  ],
  ...[
    'M T HTTP/1.1\rX: y',
    '\0M T HTTP/1.1',
    'm T HTTP/1.1',
    'M T x HTTP/1.1',
    'M T HTTP/1.1\nX: y',
    'M\x0bT HTTP/1.1',
  ],
  ...[
    'M T\x0b HTTP/1.1',
    'M T HTTP /1.1',
    'M T ICE/1.0',
    'M T HTTP/+1.1',
    'M T HTTP/1,1',
    '\r\n\r\n\r\nM T HTTP/1.1',
  ],
];
const lineEndings: readonly string[] = [
  '\n',
  '\r',
  '\r\r\n',
  '\n\r',
  '\r\n\n',
  '\r\n\r',
  ' \r\n',
  '\0\r\n',
  '\x0b\r\n',
];
const headEndings: readonly string[] = [
  '\r\n',
  '\n',
  '\r',
  ' \r\n',
  '\r\r\n',
  '\n\r\n',
  '\r\n\r',
  '\0\r\n',
  '\t\r\n',
];
/** Sizes of a chunk of three bytes. */
const sizes: readonly string[] = [
  ...[
    '3',
    '03',
    '000000000000003',
    `${'0'.repeat(40)}3`,
    '3 ',
    '3\t',
    ' 3',
    '\t3',
    '0x3',
    '+3',
    '-3',
    '3h',
    '3_',
    '_3',
  ],
  ...[
    '10000000000000003',
    'fffffffffffffffffffff3',
    '100000003',
    '80000003',
    '8000000000000003',
    '3.0',
    '3,3',
    '"3"',
  ],
  ...[
    '',
    '\x003',
    '3\0',
    '3\x0b',
    '\xb3',
    '3;',
    '3;a',
    '3;a=b',
    '3; a=b',
    '3 ;a',
    '3;a="b"',
    '3;a="\r\n"',
    '3;a="\n"',
  ],
  ...[
    '3;a="',
    '3;a=\rb',
    '3;a\rb',
    '3;a\nb',
    '3;a\0b',
    '3;;',
    '3;a;b;c',
    `3;a=${'x'.repeat(300)}`,
    '3\n',
    '3\r',
    '3\r\r',
  ],
  ...[
    `3${';x'.repeat(9000)}`,
    '3;\x7f',
    '3 x',
    '3;=',
    '3;a="\\"',
    '3;\xe9=\xe9',
    '3\r\n3',
    '2',
    '4',
    '3 ; \t a \t = \t b',
  ],
];
const dataEndings: readonly string[] = [
  '\r\n',
  '\n',
  '\r',
  '',
  '\r\r\n',
  'x\r\n',
  '\0\r\n',
  '\r\n\r\n',
  ' \r\n',
  '\n\r',
];
const lastChunks: readonly string[] = [
  ...[
    '0\r\n\r\n',
    '00\r\n\r\n',
    '0;a\r\n\r\n',
    '-0\r\n\r\n',
    '0\n\r\n',
    '0\r\n\n',
    '0\n\n',
    '0\r\r\n',
    '0 \r\n\r\n',
    '\r\n\r\n',
  ],
  ...[
    '0\r\nX: y\r\n\r\n',
    '0\r\nContent-Length: 9\r\n\r\n',
    '0\r\nTransfer-Encoding: chunked\r\n\r\n',
    '0\r\nHost: x\r\n\r\n',
  ],
  ...[
    '0\r\nX: y\n\r\n',
    '0\r\nX : y\r\n\r\n',
    '0\r\n X: y\r\n\r\n',
    '0\r\nX: a\rb\r\n\r\n',
    '0\r\nX\r\n\r\n',
    '0\r\nX: y\r\n z\r\n\r\n',
  ],
  ...[
    '0x0\r\n\r\n',
    '0\r\n',
    '0',
    '',
    '0\r\nGET / HTTP/1.1\r\n\r\n',
    '0\r\nX: \0\r\n\r\n',
    '0\r\n: x\r\n\r\n',
    '0\r\nA: b\r\n\r',
  ],
];
const methods: readonly string[] = ['PUT', 'PATCH', 'POST', 'DELETE', 'GET', 'HEAD', 'OPTIONS'];

type Parts = {
  readonly requestLine: string;
  readonly method: string;
  readonly framing: readonly string[];
  readonly further: readonly string[];
  readonly lineEnding: { readonly text: string; readonly line: number };
  readonly headEnding: string;
  readonly body: string;
  readonly isAnonymous: boolean;
};

const plain: Parts = {
  requestLine: 'M T HTTP/1.1',
  method: 'PUT',
  framing: [],
  further: [],
  lineEnding: { text: '\r\n', line: 0 },
  headEnding: '\r\n',
  body: '',
  isAnonymous: false,
};

const contentLength = (value: string, name = names[0]) => `${name?.('Content-Length') ?? ''}:${value}`;
const transferEncoding = (value: string, name = names[0]) => `${name?.('Transfer-Encoding') ?? ''}:${value}`;
const chunkedBody = (size = '3', dataEnding = '\r\n', last = '0\r\n\r\n') =>
  `${size}\r\nabc${dataEnding}${last}`;

/** Every form by itself, and every Content-Length (at most so many of them, by chance) with every Transfer-Encoding, in both orders, before a body that each would end elsewhere. */
export function listForms(random: Random, maxSingles: number, maxPairs: number): Parts[] {
  const inChunks = { framing: [transferEncoding(' chunked')], body: chunkedBody() };
  const single: Partial<Parts>[] = [
    ...requestLines.map((requestLine) => ({ requestLine })),
    ...lengths.map((value) => ({ framing: [contentLength(value)], body: 'abc' })),
    ...codings.map((value) => ({ framing: [transferEncoding(value)], body: chunkedBody() })),
    ...names.flatMap((name) => [
      { framing: [contentLength(' #', name)], body: 'abc' },
      { framing: [transferEncoding(' chunked', name)], body: chunkedBody() },
      { framing: [contentLength(' #', name), transferEncoding(' chunked')], body: chunkedBody() },
      { framing: [transferEncoding(' chunked', name), contentLength(' #')], body: chunkedBody() },
    ]),
    ...expectations.flatMap((line) => [
      { further: [line], framing: [contentLength(' #')], body: 'abc' },
      { further: [line], ...inChunks },
      { further: [line], method: 'GET', framing: [contentLength(' #')], body: 'abc' },
      { further: [line], method: 'GET', framing: [contentLength(' 0')], body: '' },
      { further: [line], isAnonymous: true, framing: [contentLength(' #')], body: 'abc' },
    ]),
    ...connections.flatMap((value) => [
      { further: [`Connection: ${value}`], framing: [contentLength(' #')], body: 'abc' },
      { further: [`Connection: ${value}`], ...inChunks },
    ]),
    ...lineEndings.flatMap((text) =>
      [0, 1, 2, 3].map((line) => ({
        lineEnding: { text, line },
        framing: [contentLength(' #')],
        body: 'abc',
      })),
    ),
    ...headEndings.map((headEnding) => ({ headEnding, framing: [contentLength(' #')], body: 'abc' })),
    ...chunkFaults.map(([, body]) => ({ ...inChunks, body })),
    ...sizes.map((size) => ({ ...inChunks, body: chunkedBody(size) })),
    ...dataEndings.map((ending) => ({ ...inChunks, body: chunkedBody('3', ending) })),
    ...lastChunks.map((last) => ({ ...inChunks, body: chunkedBody('3', '\r\n', last) })),
    ...methods.flatMap((method) => [
      { method, framing: [contentLength(' #')], body: 'abc' },
      { method, framing: [contentLength(' 0')], body: '' },
      { method, ...inChunks },
      { method, framing: [], body: '' },
      { method, framing: [contentLength(' 0'), transferEncoding(' chunked')], body: chunkedBody() },
    ]),
  ];
  const pairs = lengths.flatMap((length) =>
    codings.flatMap((coding) => [
      { framing: [contentLength(length), transferEncoding(coding)], body: chunkedBody() },
      { framing: [transferEncoding(coding), contentLength(length)], body: chunkedBody() },
    ]),
  );
  // What has once found something is always tried.
  const found: Partial<Parts>[] = [
    ...['M T HTTP/0.9', 'M T HTTP/2.0'].map((requestLine) => ({ requestLine })),
    ...connections
      .filter((value) => value.startsWith('Upgrade'))
      .map((value) => ({ further: [`Connection: ${value}`], framing: [contentLength(' #')], body: 'abc' })),
  ].flatMap((parts) => [parts, parts, parts, parts]); // sent in each of the ways
  while (single.length + found.length > maxSingles) single.splice(random.below(single.length), 1);
  while (pairs.length > maxPairs) pairs.splice(random.below(pairs.length), 1);
  return [...found, ...single, ...pairs].map((parts) => ({ ...plain, ...parts }));
}

/** Combines several forms. */
export function drawForms(random: Random): Parts {
  const value = (values: readonly string[]) => (random.onceIn(2) ? random.pick(values) : (values[0] ?? ''));
  const name = () => (random.onceIn(3) ? random.pick(names) : names[0]);
  const field = () =>
    random.onceIn(2) ? contentLength(value(lengths), name()) : transferEncoding(value(codings), name());
  const body = random.pick([
    () => 'abc',
    () => '',
    () => chunkedBody(value(sizes), value(dataEndings), value(lastChunks)),
    () => chunkedBody(),
  ]);
  return {
    requestLine: random.onceIn(6) ? random.pick(requestLines) : plain.requestLine,
    method: random.pick(methods),
    framing: Array.from({ length: random.pick([0, 1, 1, 1, 2, 2, 3]) }, field),
    further: [
      ...(random.onceIn(5) ? [random.pick(expectations)] : []),
      ...(random.onceIn(5) ? [`Connection: ${random.pick(connections)}`] : []),
    ],
    lineEnding: random.onceIn(6)
      ? { text: random.pick(lineEndings), line: random.below(5) }
      : plain.lineEnding,
    headEnding: random.onceIn(8) ? random.pick(headEndings) : '\r\n',
    body: body(),
    isAnonymous: random.onceIn(8),
  };
}

/** The attacks that the tests of security have names for, numbered from 0. */
export function listNamed(): SmugglingCase[] {
  return framingAttacks('/').map(([name], number) => {
    const bytes = framingAttacks(caseRoot(number))[number]?.slice(2).join('') ?? '';
    return { name, bytes, cutAt: bytes.length };
  });
}

/** Writes the forms out, and behind most what an attacker would like to see arrive as a request: with or without a password. */
export function writeCase(number: number, parts: Parts): SmugglingCase {
  const root = caseRoot(number);
  const { method, body } = parts;
  const hidden =
    number % 2 === 0
      ? `GET ${root}smuggled HTTP/1.1\r\n${host}\r\n\r\n`
      : `GET ${root}smuggled HTTP/1.1\r\n${host}\r\n${credentials}\r\n\r\n`;
  const target = `${root}${method === 'GET' || method === 'HEAD' ? 'blobs/x' : 'blobs/uploads/x'}`;
  const whole = String(body.length);
  // Some end the body before the hidden request, some behind it.
  const big = String(body.length + hidden.length);
  const framing = parts.framing.map((line) =>
    line
      .replaceAll('#+1', String(body.length + 1))
      .replaceAll('#-1', String(Math.max(0, body.length - 1)))
      .replaceAll('BIG', big)
      .replaceAll('#', whole),
  );
  const lines = [
    parts.requestLine.replace('T', target).replace('M', method), // in this order: methods have a T of their own
    host,
    ...(parts.isAnonymous ? [] : [credentials]),
    ...framing,
    ...parts.further,
  ];
  const { text, line: changed } = parts.lineEnding;
  const head = lines.map((line, at) => line + (at === changed ? text : '\r\n')).join('') + parts.headEnding;
  const last = `GET ${root}last HTTP/1.1\r\n${host}\r\n${credentials}\r\nConnection: close\r\n\r\n`;
  // What a parser drops of one piece, it does not drop of the next; and some say what they make of a request only where nothing is behind it.
  const form = head + body;
  const behind = number % 4 === 3 ? '' : hidden + last;
  const bytes = form + behind;
  const cutAt = [bytes.length, bytes.length - last.length, form.length][number % 4] ?? bytes.length;
  return { name: JSON.stringify(lines.slice(3)), bytes, cutAt };
}
