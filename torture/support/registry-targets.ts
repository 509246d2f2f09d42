import { createHash } from 'node:crypto';
import {
  anyByte,
  characters,
  damaged,
  encodedByte,
  inOrder,
  oneOf,
  repeated,
  usually,
  type Rule,
} from './grammar.ts';
import type { Random } from './random.ts';

const hex = (digits: number) => characters('0123456789abcdef', digits, digits);
const word = oneOf(
  ...[
    'a',
    'b',
    'app',
    'secret',
    'secret/app',
    'team',
    'team-a',
    'library',
    'x__y',
    'x..y',
    'A',
    '_x',
    'x-',
    '-',
    '.x',
    'v2',
    'v1',
    '_catalog',
  ],
  // What else stands in paths of the registry, and may be a name's part just as well.
  ...[
    'manifests',
    'blobs',
    'uploads',
    'tags',
    'list',
    'referrers',
    'repositories',
    'sha256',
    '_manifests',
    'latest',
  ],
);
const name = usually(
  repeated(word, 1, 4, '/'),
  12,
  repeated(word, 0, 3, oneOf('/', '//', '/./', '/../', '%2f', ';', ':')),
);
const tag = oneOf(
  'latest',
  'v1',
  'v1.0',
  'x_y',
  '_',
  '.',
  '..',
  '-x',
  'v1:2',
  'v1@sha256',
  'list',
  'manifests',
  characters('aB9._-', 1, 140),
);
const colon = usually(':', 3, oneOf('%3A', '%3a', '%253a', '+', ''));
const digest = usually(
  oneOf(inOrder('sha256', colon, hex(64)), inOrder('sha512', colon, hex(128))),
  4,
  oneOf(
    inOrder('sha256', colon, hex(32)),
    inOrder('sha256', colon, characters('ABCDEF0189', 64, 64)),
    inOrder('md5', colon, hex(32)),
    inOrder('sha256+b64', colon, hex(64)),
    inOrder('sha384', colon, hex(96)),
    'sha256:',
  ),
);
const upload = oneOf(
  inOrder(hex(8), '-', hex(4), '-', hex(4), '-', hex(4), '-', hex(12)),
  'x',
  '=',
  digest,
  characters('aZ9-_.=', 1, 20),
);
const path = oneOf(
  inOrder('/v2/', name, '/manifests/', oneOf(tag, digest)),
  inOrder('/v2/', name, '/manifests/', oneOf(tag, digest)),
  inOrder('/v2/', name, '/blobs/', digest),
  inOrder('/v2/', name, '/blobs/uploads/', oneOf('', upload)),
  inOrder('/v2/', name, '/blobs/uploads', oneOf('', '/')),
  inOrder('/v2/', name, '/tags/list'),
  inOrder('/v2/', name, '/referrers/', digest),
  inOrder('/v2/', repeated(word, 1, 7, '/'), oneOf('', '/')),
  inOrder('/v2/', oneOf('', '_catalog', '_catalog/', 'token')),
  inOrder('/', repeated(oneOf(word, digest), 0, 6, '/')),
);
/** One byte as two readers may write it: plain or encoded. */
const odd = oneOf(
  anyByte,
  encodedByte,
  encodedByte,
  '/',
  '%2e',
  '.',
  '..',
  '%25',
  ';',
  ':',
  '%',
  '\u00c3\u00a9',
  '%C3%A9',
  '%E2%80%A8',
  '%20',
  '+',
);
/** Letters that need no encoding, encoded: they mean the same. */
const disguised =
  (rule: Rule): Rule =>
  (random) =>
    Array.from(rule(random))
      .map((character) =>
        /[a-z0-9_-]/.test(character) && random.onceIn(9)
          ? `%${character.charCodeAt(0).toString(16)}`
          : character,
      )
      .join('');

/** Paths of a registry's API, and almost. */
export const registryPath: Rule = oneOf(path, path, disguised(path), damaged(path, 3, odd));

const equals = usually('=', 20, oneOf('', '==', '%3D'));
const parameter = oneOf(
  inOrder('mount', equals, digest),
  (random) => `mount=${mountForm.digest}${random.onceIn(3) ? '' : '&from=secret/app'}`,
  inOrder(
    'from',
    equals,
    oneOf(
      name,
      'secret/app',
      'secret/app',
      oneOf('', 'secret', 'secret%2Fapp', 's%65cret/app', 'a;b', 'a%3Bb', '%zz', '+a', '..'),
    ),
  ),
  inOrder('From', equals, name),
  inOrder('fr%6fm', equals, name),
  inOrder('digest', equals, digest),
  inOrder('tag', equals, tag),
  inOrder('n', equals, oneOf('1', '-1', '0', 'x', '99999999999999999999')),
  inOrder('last', equals, name),
  inOrder('_state', equals, characters('aZ9-_', 0, 30)),
  inOrder('artifactType', equals, word),
  damaged(inOrder('from', equals, name), 2),
);
/** Queries without the question mark, without what would end the target or the head. */
export const registryQuery: Rule = (random) =>
  repeated(
    parameter,
    0,
    4,
    usually('&', 8, oneOf(';', '&&', '&amp;', '%26')),
  )(random).replace(/[\x00-\x20#\x7f-\xff]/g, '');

/** Where an upload begins, or a blob is mounted. */
export const uploadStart: Rule = inOrder('/v2/', oneOf('a', 'team/app', 'x__y/b'), '/blobs/uploads/');

/** Methods, those most that the registry has. */
export const registryMethod: Rule = oneOf(
  'GET',
  'GET',
  'HEAD',
  'PUT',
  'POST',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'GET',
);

const content = 'a layer that not everybody may have';
const secretDigest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
const urlForm = repeated(
  oneOf(
    inOrder('mount=', secretDigest),
    'from=secret/app',
    'from=secret%2Fapp',
    'from=a',
    inOrder('digest=', digest),
    '_state=x',
  ),
  0,
  4,
  oneOf('&', '&', ';'),
);
const part = (name: string, value: string) =>
  `--x\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;

/** Bodies that docker-registry reads as if they stood in the query, where it lets a blob be mounted. */
export const mountForm = {
  content,
  digest: secretDigest,
  draw: (random: Random): { type: string; body: string } =>
    random.onceIn(3)
      ? {
          type: random.pick(['multipart/form-data; boundary=x', 'Multipart/Form-Data;boundary="x"']),
          body: `${part('mount', secretDigest)}${part('from', 'secret/app')}--x--\r\n`,
        }
      : {
          type: random.pick([
            'application/x-www-form-urlencoded',
            'application/x-www-form-urlencoded; charset=utf-8',
            'Application/X-WWW-Form-Urlencoded',
            ' application/x-www-form-urlencoded ;',
            'application/x-www-form-urlencoded,text/plain',
            'application/x-www-form-urlencoded; a=b; a=c',
          ]),
          body: urlForm(random),
        },
};
