import { basic } from '../front-door.ts';
import { chunked, head } from '../http-message.ts';
import { authorized } from '../raw-client.ts';

const host = 'Host: registry.example';
const credentials = `Authorization: ${basic}`;

/** What is sent, the statuses that may refuse it (0: closed without an answer), and the bytes. */
export type FramingAttack = readonly [what: string, expected: readonly number[], ...bytes: string[]];

/** What an attacker would like to see arrive as a request of its own. */
export const smuggledBelow = (root: string): string => authorized(`GET ${root}smuggled`);

/** Requests that two readers could frame in two ways, all below the path `root`. */
export function framingAttacks(root: string): readonly FramingAttack[] {
  const smuggled = smuggledBelow(root);
  const put = `PUT ${root}blobs/uploads/1 HTTP/1.1`;
  return [
    [
      'CL.TE',
      [400],
      head(put, host, credentials, 'Content-Length: 5', 'Transfer-Encoding: chunked'),
      '0\r\n\r\n',
      smuggled,
    ],
    [
      'TE.CL',
      [400],
      head(put, host, credentials, 'Transfer-Encoding: chunked', 'Content-Length: 4'),
      chunked('abc'),
      smuggled,
    ],
    ...(
      [
        ['TE.TE, two lines', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
        ['TE.TE, identity last', 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
        ['TE.TE, a list', 'Transfer-Encoding: chunked, identity'],
        ['TE gzip, chunked', 'Transfer-Encoding: gzip, chunked'],
        ['TE xchunked', 'Transfer-Encoding: xchunked'],
        ['TE quoted', 'Transfer-Encoding: "chunked"'],
        ['TE with a vertical tab', 'Transfer-Encoding: \x0bchunked'],
        ['TE with a space before the colon', 'Transfer-Encoding : chunked'],
        ['TE in a name of its own', 'Content-Length: 3', 'X: y\nTransfer-Encoding: chunked'],
      ] as const
    ).map(([what, ...lines]): FramingAttack => [
      what,
      [400],
      head(put, host, credentials, ...lines),
      chunked('abc'),
      smuggled,
    ]),
    ['TE identity', [400], head(put, host, credentials, 'Transfer-Encoding: identity'), smuggled],
    ['TE empty', [400], head(put, host, credentials, 'Transfer-Encoding:'), smuggled],
    [
      'TE with HTTP/1.0',
      [400, 0],
      head(`PUT ${root}blobs/uploads/1 HTTP/1.0`, host, credentials, 'Transfer-Encoding: chunked'),
      chunked('abc'),
      smuggled,
    ],
    [
      'two lengths that differ',
      [400],
      head(put, host, credentials, 'Content-Length: 0', 'Content-Length: 5'),
      smuggled,
    ],
    [
      'two lengths that agree',
      [400],
      head(put, host, credentials, 'Content-Length: 3', 'Content-Length: 3'),
      'abc',
      smuggled,
    ],
    ['two lengths in a list', [400], head(put, host, credentials, 'Content-Length: 3, 3'), 'abc', smuggled],
    ['a negative length', [400], head(put, host, credentials, 'Content-Length: -1'), smuggled],
    ['a length with a sign', [400], head(put, host, credentials, 'Content-Length: +3'), 'abc', smuggled],
    ['a length in hexadecimal', [400], head(put, host, credentials, 'Content-Length: 0x3'), 'abc', smuggled],
    [
      'a length with a space in it',
      [400],
      head(put, host, credentials, 'Content-Length: 3 3'),
      'abc',
      smuggled,
    ],
    [
      'a length beyond 63 bits',
      [400],
      head(put, host, credentials, 'Content-Length: 9223372036854775808'),
      'abc',
      smuggled,
    ],
    [
      'a length beyond 2^64',
      [400],
      head(put, host, credentials, 'Content-Length: 18446744073709551617'),
      'a',
      smuggled,
    ],
    [
      'a length before which stands a space',
      [400],
      head(put, host, credentials, 'Content-Length : 3'),
      'abc',
      smuggled,
    ],
    ['a bare LF between headers', [400], head(put, `${host}\n${credentials}`, 'Content-Length: 0'), smuggled],
    ['a bare CR between headers', [400], head(put, `${host}\r${credentials}`, 'Content-Length: 0'), smuggled],
    ['a bare CR in a header', [400], head(put, host, credentials, 'X: a\rb', 'Content-Length: 0'), smuggled],
    ['a NUL in a header', [400], head(put, host, credentials, 'X: a\0b', 'Content-Length: 0'), smuggled],
    ['a NUL in a name', [400], head(put, host, credentials, 'X\0: a', 'Content-Length: 0'), smuggled],
    [
      'a folded header',
      [400],
      head(put, host, credentials, 'X: a', ' Content-Length: 5', 'Content-Length: 0'),
      smuggled,
    ],
    [
      'a folded Transfer-Encoding',
      [400],
      head(put, host, credentials, 'Transfer-Encoding:', ' chunked'),
      chunked('abc'),
      smuggled,
    ],
    [
      'a first header that is folded',
      [400],
      head(put, ` ${host}`, credentials, 'Content-Length: 0'),
      smuggled,
    ],
    ['a header without colon', [400], head(put, host, credentials, 'X', 'Content-Length: 0'), smuggled],
    ['a header without name', [400], head(put, host, credentials, ': x', 'Content-Length: 0'), smuggled],
    [
      'DELETE in chunks',
      [411],
      head(`DELETE ${root}manifests/x HTTP/1.1`, host, credentials, 'Transfer-Encoding: chunked'),
      chunked(smuggled),
    ],
    [
      'OPTIONS in chunks',
      [411],
      head(`OPTIONS ${root}manifests/x HTTP/1.1`, host, credentials, 'Transfer-Encoding: chunked'),
      chunked(smuggled),
    ],
    [
      'GET in chunks',
      [411],
      head(`GET ${root}manifests/x HTTP/1.1`, host, credentials, 'Transfer-Encoding: chunked'),
      chunked(smuggled),
    ],
    [
      'HEAD in chunks',
      [411],
      head(`HEAD ${root}manifests/x HTTP/1.1`, host, credentials, 'Transfer-Encoding: chunked'),
    ],
    [
      'GET with a body',
      [400],
      head(`GET ${root}manifests/x HTTP/1.1`, host, credentials, `Content-Length: ${smuggled.length}`),
      smuggled,
    ],
    ['two Hosts', [400], head(`GET ${root}x HTTP/1.1`, host, 'Host: other.example', credentials), smuggled],
    ['no Host', [400], head(`GET ${root}x HTTP/1.1`, credentials), smuggled],
    ['an empty Host', [400], head(`GET ${root}x HTTP/1.1`, 'Host:', credentials), smuggled],
    ['a Host with a path', [400], head(`GET ${root}x HTTP/1.1`, 'Host: a/b', credentials), smuggled],
    ['a Host with a user', [400], head(`GET ${root}x HTTP/1.1`, 'Host: a@b', credentials), smuggled],
    ['a Host with two ports', [400], head(`GET ${root}x HTTP/1.1`, 'Host: a:1:2', credentials), smuggled],
    ['a Host with a query', [400], head(`GET ${root}x HTTP/1.1`, 'Host: a?b', credentials), smuggled],
    ['a Host list', [400], head(`GET ${root}x HTTP/1.1`, 'Host: a, b', credentials), smuggled],
    ['a tab at the end of the target', [400], head(`GET ${root}x\t HTTP/1.1`, host, credentials), smuggled],
    ['HTTP/0.9', [400, 0], `GET ${root}x\r\n\r\n`, smuggled],
    ['HTTP/2 preface', [400], 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', smuggled],
    ['HTTP/1.2', [400], head(`GET ${root}x HTTP/1.2`, host, credentials), smuggled],
    ['HTTP/0.9 with fields', [400], head(`GET ${root}x HTTP/0.9`, host, credentials)],
    ['HTTP/2.0 in text', [400], head(`GET ${root}x HTTP/2.0`, host, credentials)],
    ['CONNECT', [405], head('CONNECT 127.0.0.1:5000 HTTP/1.1', host, credentials), smuggled],
  ];
}

/** Bodies in chunks of which none is whole. */
export const chunkFaults: readonly (readonly [what: string, body: string])[] = [
  ['a chunk size with 0x', '0x3\r\nabc\r\n0\r\n\r\n'],
  ['a negative chunk size', '-3\r\nabc\r\n0\r\n\r\n'],
  ['a chunk size beyond 2^64', '10000000000000003\r\nabc\r\n0\r\n\r\n'],
  ['a chunk size with a space before it', ' 3\r\nabc\r\n0\r\n\r\n'],
  ['no chunk size', '\r\nabc\r\n0\r\n\r\n'],
  ['a chunk longer than its size', '3\r\nabcd\r\n0\r\n\r\n'],
  ['a chunk size ended by a bare LF', '3\nabc\r\n0\r\n\r\n'],
  ['a chunk ended by a bare LF', '3\r\nabc\n0\r\n\r\n'],
  ['a chunk extension with a bare LF', '3;a\n\r\nabc\r\n0\r\n\r\n'],
  ['a chunk extension with a bare CR', '3;a\rb\r\nabc\r\n0\r\n\r\n'],
];
