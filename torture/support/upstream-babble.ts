import { chunked, head as headOf } from '../../test/support/http-message.ts';
import type { Trial } from '../trial.ts';
import type { Seen } from './lane.ts';
import type { RecordedExchange } from './recorded-exchanges.ts';
import {
  isBadGateway,
  isPartOf,
  isRecorded,
  runCases,
  timed,
  type Case,
  type UpstreamRig,
} from './upstream-rig.ts';
import { runGarbage } from './upstream-garbage.ts';
import { runUnstored } from './upstream-unstored.ts';

/** A head of upstream's, and what follows it. */
const wire = (lines: readonly string[], body: string | Buffer = '') => [
  Buffer.from(headOf(...lines), 'latin1'),
  typeof body === 'string' ? Buffer.from(body, 'latin1') : body,
];
const endings = ['FIN', 'RST', 'stay'] as const;

/** Interim answers before the final one: none is forwarded, and the final one is complete. */
function* provisionalCases(rig: UpstreamRig): Generator<Case> {
  const kinds: readonly (readonly [string, string])[] = [
    ['100', headOf('HTTP/1.1 100 Continue')],
    ['102', headOf('HTTP/1.1 102 Processing')],
    ['103 with headers', headOf('HTTP/1.1 103 Early Hints', 'Link: </x>; rel=preload', 'Content-Length: 5')],
    ['a hundred of them', headOf('HTTP/1.1 102 Processing').repeat(100)],
  ];
  for (const exchange of rig.exchanges)
    for (const [what, text] of kinds) {
      const { head, body } = exchange;
      const isRight = (seen: Seen) => isRecorded(seen, exchange);
      const before = Buffer.from(text);
      yield { exchange, what, ending: 'stay', bytes: [before, head, body], isRight };
      yield {
        exchange,
        what: `${what}, in one piece`,
        ending: 'stay',
        bytes: [Buffer.concat([before, head, body])],
        isRight,
      };
      for (const ending of ['FIN', 'RST'] as const)
        yield {
          exchange,
          what: `${what}, and then ${ending}`,
          ending,
          bytes: [before],
          isRight: isBadGateway,
        };
    }
}

/** A Content-Length that is one too many, and one too few. */
function* lengthCases(rig: UpstreamRig): Generator<Case> {
  for (const exchange of rig.exchanges.filter(({ body, method }) => body.length > 0 && method === 'GET')) {
    const { head, body } = exchange;
    const isCached = exchange.name.includes(', cached');
    const announcing = (length: number) =>
      Buffer.from(
        head.toString('latin1').replace(/Content-Length: \d+/, `Content-Length: ${length}`),
        'latin1',
      );
    for (const ending of [...endings, 'silence'] as const) {
      const tooFew = { ...exchange, body: body.subarray(0, -1) };
      yield {
        ...{ exchange, ending, bytes: [Buffer.concat([announcing(body.length - 1), body])] },
        what: `a length that is one short, then ${ending}`,
        // What was announced is the answer; what is more is nobody's. It may be told from an answer only by its end.
        isRight: (seen) => isRecorded(seen, tooFew) || isBadGateway(seen) || isPartOf(seen, tooFew),
      };
      yield {
        ...{
          exchange,
          bytes: [announcing(body.length + 1), body],
          ending: ending === 'stay' ? 'silence' : ending,
        },
        what: `a length that is one too long, then ${ending}`,
        isRight: (seen) =>
          (isCached ? seen.kind === 'error' : isPartOf(seen, exchange)) ||
          (ending === 'RST' && isBadGateway(seen)),
      };
    }
  }
}

/** Chunks that are none: [what, the body's bytes]. Whatever follows, the client must not take it for a whole answer. */
const brokenChunks: readonly (readonly [string, string])[] = [
  ['a size that is no number', 'zz\r\nabc\r\n0\r\n\r\n'],
  ['an empty size', '\r\nabc\r\n0\r\n\r\n'],
  ['a negative size', '-3\r\nabc\r\n0\r\n\r\n'],
  ['a size with a sign', '+3\r\nabc\r\n0\r\n\r\n'],
  ['a size with 0x', '0x3\r\nabc\r\n0\r\n\r\n'],
  ['a space before the size', ' 3\r\nabc\r\n0\r\n\r\n'],
  ['a size of 64 bits and more', 'fffffffffffffffff\r\nabc\r\n0\r\n\r\n'],
  ['a size just over 64 bits', '10000000000000003\r\nabc\r\n0\r\n\r\n'],
  ['a size that is one short', '2\r\nabc\r\n0\r\n\r\n'],
  ['a size that is one too long', '4\r\nabc\r\n0\r\n\r\n'],
  ['no line end after the data', '3\r\nabc0\r\n\r\n'],
  ['a bare line feed after the size', '3\nabc\r\n0\r\n\r\n'],
  ['a bare line feed after the data', '3\r\nabc\n0\r\n\r\n'],
  ['a bare carriage return after the size', '3\rabc\r\n0\r\n\r\n'],
  ['a NUL in the size', '3\0\r\nabc\r\n0\r\n\r\n'],
  ['an extension with a line feed', '3;a\nb\r\nabc\r\n0\r\n\r\n'],
  ['a trailer that is no header', '3\r\nabc\r\n0\r\n: x\r\n\r\n'],
  ['a trailer of 128 KiB', `3\r\nabc\r\n0\r\nX: ${'x'.repeat(131072)}\r\n\r\n`],
];

function* chunkCases(rig: UpstreamRig): Generator<Case> {
  for (const exchange of rig.exchanges.filter(({ method }) => method === 'GET'))
    for (const [what, body] of brokenChunks)
      for (const ending of endings)
        yield {
          ...{
            exchange,
            what: `${what}, then ${ending}`,
            bytes: wire(['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked'], body),
          },
          ending: ending === 'stay' ? 'silence' : ending,
          isRight: ({ kind, status }) => kind === 'cut' || (kind === 'error' && status >= 502),
        };
}

/** Heads that are odd: what the client must see, [status, what its answer must hold]; 502 where it is no HTTP. */
const oddHeads: readonly (readonly [what: string, status: number, lines: string[], body?: string])[] = [
  [
    'both a length and chunks',
    502,
    ['HTTP/1.1 200 OK', 'Content-Length: 3', 'Transfer-Encoding: chunked'],
    chunked('abc'),
  ],
  [
    'chunks and a length',
    502,
    ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Content-Length: 3'],
    chunked('abc'),
  ],
  [
    'chunks twice',
    200, // the body is chunked once, and goes on so
    ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    chunked('abc'),
  ],
  ['64 KiB in one header', 502, ['HTTP/1.1 200 OK', `X: ${'x'.repeat(65536)}`, 'Content-Length: 3'], 'abc'],
  [
    '64 KiB in many headers',
    502,
    ['HTTP/1.1 200 OK', ...Array.from({ length: 4000 }, (_, i) => `X-${i}: 1234567`), 'Content-Length: 3'],
    'abc',
  ],
  ['12 KiB in a header', 200, ['HTTP/1.1 200 OK', `X: ${'x'.repeat(12_000)}`, 'Content-Length: 3'], 'abc'],
  ['a length of 2^64', 502, ['HTTP/1.1 200 OK', 'Content-Length: 18446744073709551616'], 'abc'],
  [
    'a redirect elsewhere',
    307,
    ['HTTP/1.1 307 Temporary Redirect', 'Location: https://cdn.example/x?a=b', 'Content-Length: 0'],
  ],
  ['a redirect to nowhere', 302, ['HTTP/1.1 302 Found', 'Content-Length: 0']],
  ['a redirect to itself', 301, ['HTTP/1.1 301 Moved Permanently', 'Location: ', 'Content-Length: 3'], 'abc'],
  [
    'a 401 of its own',
    401,
    [
      'HTTP/1.1 401 Unauthorized',
      'WWW-Authenticate: Bearer realm="https://elsewhere.example/token"',
      'Content-Length: 3',
    ],
    'abc',
  ],
  [
    'a 500 with a page',
    500,
    ['HTTP/1.1 500 Internal Server Error', 'Content-Type: text/html', 'Content-Length: 3'],
    'abc',
  ],
  ['a status that nobody knows', 599, ['HTTP/1.1 599 Odd', 'Content-Length: 3'], 'abc'],
  ['a 204 with a body', 204, ['HTTP/1.1 204 No Content', 'Content-Length: 3'], 'abc'],
];

function* oddCases(rig: UpstreamRig): Generator<Case> {
  for (const exchange of rig.exchanges)
    for (const [what, status, lines, body = ''] of oddHeads)
      for (const ending of endings) {
        if (ending === 'RST' && status !== 502) continue; // it may overtake the answer
        const isHead = exchange.method === 'HEAD' && !exchange.name.includes(', cached');
        yield {
          ...{ exchange, what: `${what}, then ${ending}`, ending, bytes: wire(lines, isHead ? '' : body) },
          isRight: (seen) =>
            status === 502 || (status === 204 && isBadGateway(seen)) // what follows a 204 may spoil it
              ? isBadGateway(seen)
              : seen.kind === 'answer' &&
                seen.status === status &&
                (exchange.method === 'HEAD' ||
                  status === 204 ||
                  seen.body.toString('latin1') === (body === '' ? '' : 'abc')),
        };
      }
}

/** Upstream hangs after various numbers of bytes. */
function* silences(rig: UpstreamRig, exchange: RecordedExchange): Generator<Case> {
  const { form, random } = rig;
  const { head, body, method } = exchange;
  const all = method === 'HEAD' && !exchange.name.includes(', cached') ? head : Buffer.concat([head, body]);
  const places = new Set(
    [0, 1, head.length - 1, head.length, all.length - 1].filter((at) => at < all.length),
  );
  const wanted = { quick: 8, ci: 40, long: all.length }[form];
  while (places.size < Math.min(wanted, all.length)) places.add(random.below(all.length));
  for (const at of places)
    yield {
      ...{ exchange, ending: 'silence', bytes: [all.subarray(0, at)] },
      what: `silence after ${at} of ${all.length} bytes`,
      isRight: (seen) =>
        at < head.length || exchange.name.includes(', cached')
          ? seen.kind === 'error' && seen.status === 504
          : isPartOf(seen, exchange),
    };
}

/** Answers that are not HTTP, odd HTTP, or missing. */
export function upstreamBabble(rig: UpstreamRig): Trial[] {
  const garbage = { quick: 150, ci: 5_000, long: 60_000 }[rig.form];
  return [
    timed('provisional answers before the answer', (times) => runCases(rig, times, provisionalCases(rig))),
    timed('a length one short and one too long', (times) => runCases(rig, times, lengthCases(rig), 30)),
    timed('broken chunks: never a whole answer', (times) => runCases(rig, times, chunkCases(rig), 30)),
    timed('odd heads: two framings, 64 KiB, redirects, a 401', (times) =>
      runCases(rig, times, oddCases(rig)),
    ),
    { name: 'what broke is not kept: asked again, the answer is right', run: () => runUnstored(rig) },
    { name: 'garbage, and answers with a few bytes changed', run: () => runGarbage(rig, garbage) },
    timed('silence: 504, or the cut, after upstream.readTimeout', (times) => {
      const cases = rig.exchanges.flatMap((exchange) => [...silences(rig, exchange)]);
      return runCases(rig, times, cases, 60);
    }),
  ];
}
