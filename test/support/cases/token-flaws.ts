import { createHmac, generateKeyPairSync, sign as signWith } from 'node:crypto';
import { basicOf } from '../tokens.ts';
import {
  hash,
  keyFor,
  keyId,
  kinds,
  lineOf,
  oldHash,
  secrets,
  service,
  userPassword,
  users,
  type Draft,
  type Kind,
} from './token-draft.ts';

/** One thing that is wrong with a token. */
export type Flaw = {
  readonly what: string;
  /** `below` draws a number below another. */
  readonly change: (draft: Draft, below: (limit: number) => number) => void;
  /** The kind that it can be wrong with; both when left out. */
  readonly only?: Kind;
  /** Whether it is shown where nobody looks: the request is of one who did not say who he is. */
  readonly isUnseen?: boolean;
};

const huge = 1e15;
const nowS = () => Math.floor(Date.now() / 1000);
const otherSecret = (secret: string) => secrets.find((one) => one !== secret) ?? '';
const otherUser = (who: string | null) => users.find((one) => one !== who) ?? '';
const otherKind = (kind: Kind): Kind => (kind === 'access' ? 'refresh' : 'access');
const show = (value: unknown) => (value === undefined ? 'missing' : JSON.stringify(value).slice(0, 60));

/** Text in place of a number that JSON cannot write: such as 1e999, which is read as Infinity. */
const rawClaim =
  (name: string, text: string): Flaw['change'] =>
  (draft) => {
    draft.claims[name] = '@';
    draft.write.claims = (json) => json.replace(`"${name}":"@"`, `"${name}":${text}`);
  };

/** Wrong values of one field of the header, or of one claim. */
function wrongValues(
  place: 'header' | 'claims',
  name: string,
  values: readonly unknown[],
  only?: Kind,
): Flaw[] {
  return values.map((value) => ({
    what: `${place} ${name} ${show(value)}`,
    change: (draft) => {
      draft[place][name] = value;
    },
    ...(only && { only }),
  }));
}

const notStrings: readonly unknown[] = [undefined, null, 0, 1, true, {}, []];
const notNumbers: readonly unknown[] = [undefined, null, '9999999999', '', {}, [9999999999], true];

const algorithms: Flaw[] = [
  ...['none', 'None', 'NONE', 'nOnE'].map((alg): Flaw => ({
    what: `algorithm ${alg}, without a signature`,
    change: (draft) => {
      Object.assign(draft, { header: { ...draft.header, alg }, sign: () => Buffer.alloc(0) });
    },
  })),
  ...['HS384', 'HS512'].map((alg): Flaw => ({
    what: `algorithm ${alg}, of the right key`,
    change: (draft) => {
      draft.header['alg'] = alg;
      draft.sign = (text, key) => createHmac(alg.replace('HS', 'sha'), key).update(text).digest();
    },
  })),
  // The signature stays that of HMAC: as if the secret were a public key.
  ...wrongValues('header', 'alg', [
    ...[
      'HS384',
      'HS512',
      'RS256',
      'RS512',
      'ES256',
      'PS256',
      'EdDSA',
      'none',
      'hs256',
      'HS256 ',
      'HS256\0',
      'dir',
      'A128KW',
    ],
    ...['__proto__', 'constructor', '', ['HS256'], ...notStrings],
  ]),
];

const oddKeyIds = [
  ...['', 'x', '__proto__', 'constructor', 'toString', 'hasOwnProperty', '../../../../dev/null', '/dev/null'],
  ...['0.key', './0.key', "' OR 1=1 --", 'x'.repeat(8000), 'http://127.0.0.1/key', '\0', '*', '%00'],
];
const keyIds: Flaw[] = [
  ...wrongValues('header', 'kid', [...oddKeyIds, ...notStrings]),
  ...oddKeyIds.map((kid): Flaw => ({
    what: `kid ${show(kid)} and an empty key`,
    change: (draft) => {
      Object.assign(draft, { header: { ...draft.header, kid }, key: '' });
    },
  })),
  ...(
    [
      ['of the other key', (_, secret) => keyId(otherSecret(secret))],
      ['with a blank', (kid) => `${kid} `],
      ['with NUL', (kid) => `${kid}\0`],
      ['twice', (kid) => kid + kid],
      ['in a list', (kid) => [kid]],
      ['in another case', (kid) => (kid === kid.toUpperCase() ? kid.toLowerCase() : kid.toUpperCase())],
    ] as readonly (readonly [string, (kid: string, secret: string) => unknown])[]
  ).map(([what, change]): Flaw => ({
    what: `kid ${what}`,
    change: (draft) => {
      draft.header['kid'] = change(keyId(draft.secret), draft.secret);
    },
  })),
  {
    what: 'two kids, of which the last is another',
    change: (draft) => {
      draft.write.header = (json) => json.replace(/\}$/, ',"kid":"x"}');
    },
  },
];

const keys: Flaw[] = (
  [
    ['of the other kind', ({ secret, kind }) => keyFor(secret, kinds[otherKind(kind)].use)],
    ['for lines', ({ secret }) => keyFor(secret, 'htpasswd line')],
    ['of the other secret', ({ secret, kind }) => keyFor(otherSecret(secret), kinds[kind].use)],
    ['that is the secret itself', ({ secret }) => secret],
    ['that is the key, written as text', ({ key }) => key.toString('hex')],
    ['that is empty', () => ''],
    ['of 32 zeros', () => Buffer.alloc(32)],
    ["that is the key's name", ({ secret }) => keyId(secret)],
    ['of somebody else', () => 'a key of my own, which is long enough'],
  ] as readonly (readonly [string, (draft: Draft) => Buffer | string])[]
).map(([what, choose]) => ({
  what: `a key ${what}`,
  change: (draft) => {
    draft.key = choose(draft);
  },
}));

/** Keys that the token itself names or brings, and key pairs; `url`: where a key could be fetched. */
const broughtKeys = (url: string): Flaw[] => {
  const own = 'a key of my own, which is long enough';
  const brought: readonly Record<string, unknown>[] = [
    { jwk: { kty: 'oct', k: Buffer.from(own).toString('base64url'), alg: 'HS256' } },
    { jku: `${url}/keys` },
    { x5u: `${url}/certificate` },
    { jku: `${url}/keys`, kid: undefined },
    { x5c: ['MIIB'], x5t: 'AAAA' },
  ];
  return [
    ...brought.map((fields): Flaw => ({
      what: `brings its key: ${show(fields)}`,
      change: (draft) => {
        Object.assign(draft, { header: { ...draft.header, ...fields }, key: own });
      },
    })),
    ...(
      [
        ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey],
        ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
      ] as const
    ).flatMap(([alg, key]) =>
      [{}, { jku: `${url}/keys` }].map((fields): Flaw => ({
        what: `a key pair of its own for ${alg} ${show(fields)}`,
        change: (draft) => {
          draft.header = { ...draft.header, alg, ...fields };
          draft.sign = (text) => signWith('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
        },
      })),
    ),
  ];
};

const headers: Flaw[] = [
  ...wrongValues('header', 'typ', [
    'JWT',
    'jwt',
    'at+jwt ',
    'text/at+jwt',
    'at',
    '__proto__',
    ['at+jwt'],
    ...notStrings,
  ]),
  {
    what: 'typ of the other kind',
    change: (draft) => {
      draft.header['typ'] = kinds[otherKind(draft.kind)].typ;
    },
  },
  {
    what: 'a whole token of the other kind',
    change: (draft) => {
      draft.header['typ'] = kinds[otherKind(draft.kind)].typ;
      draft.key = keyFor(draft.secret, kinds[otherKind(draft.kind)].use);
    },
  },
  ...[['exp'], ['x'], [], ['b64', 'b64'], 'exp', null, {}, [1], ['__proto__']].map((crit): Flaw => ({
    what: `crit ${show(crit)}`,
    change: (draft) => {
      Object.assign(draft.header, { crit, x: 1, exp: 1 });
    },
  })),
  {
    what: 'a payload that is not encoded',
    change: (draft) => {
      Object.assign(draft.header, { b64: false, crit: ['b64'] });
    },
  },
  ...['[]', 'null', '"HS256"', '1', '', '{', '{"alg":"HS256"', '\ufeff{}'].flatMap((text): Flaw[] => [
    {
      what: `the header is ${show(text)}`,
      change: (draft) => {
        draft.write.header = () => text;
      },
    },
    {
      what: `the claims are ${show(text)}`,
      change: (draft) => {
        draft.write.claims = () => text;
      },
    },
  ]),
  {
    what: 'claims that are not UTF-8',
    change: (draft) => {
      draft.write.claims = (json) =>
        Buffer.concat([Buffer.from(json.slice(0, -1)), Buffer.from(',"x":"\xff"}', 'latin1')]);
    },
  },
];

const ended: Flaw[] = [-31, -60, -3600, -huge].map((seconds) => ({
  what: `over since ${-seconds} seconds`,
  change: (draft) => {
    draft.claims['exp'] = nowS() + seconds;
  },
}));

const claims: Flaw[] = [
  ...wrongValues('claims', 'iss', [
    '',
    'Tidegate',
    'tidegate ',
    'https://tidegate',
    'other',
    ['tidegate'],
    ...notStrings,
  ]),
  ...wrongValues('claims', 'aud', [
    '',
    'registry',
    ' Registry',
    'Registr',
    'Other',
    ['Other'],
    [[service]],
    { 0: service },
    ...notStrings,
  ]),
  ...wrongValues('claims', 'exp', [...notNumbers, 0, -1]),
  ...wrongValues('claims', 'nbf', [...notNumbers, huge]),
  ...wrongValues('claims', 'iat', notNumbers),
  ...wrongValues('claims', 'jti', [undefined]),
  ...ended,
  { what: 'nbf without end', change: rawClaim('nbf', '1e999') },
  { what: 'exp below everything', change: rawClaim('exp', '-1e999') },
  {
    what: 'good in a minute or two',
    change: (draft) => {
      draft.claims['nbf'] = nowS() + 90;
    },
  },
  ...wrongValues(
    'claims',
    'access',
    [
      ...[
        'repository:team/app:pull',
        '',
        1,
        true,
        null,
        undefined,
        {},
        { length: 1 },
        [null],
        [[]],
        ['x'],
        [1],
      ],
      ...[
        [{}],
        [{ type: 'repository' }],
        [{ type: 'repository', name: 'team/app' }],
        [{ type: 'all', name: 'x', actions: [] }],
      ],
      ...[
        [{ type: 'repository', name: 'team/app', actions: 'pull' }],
        [{ type: 'repository', name: 1, actions: ['pull'] }],
      ],
      ...[
        [{ type: 'repository', name: ['team/app'], actions: ['pull'] }],
        [{ type: 'repository', name: 'team/app', actions: { 0: 'pull' } }],
      ],
    ],
    'access',
  ),
];

/** Who it says that it is for, and the line that has to prove it. */
const people: Flaw[] = [
  ...(
    [
      [
        'somebody else, with the line of the first',
        (who) => otherUser(who),
        (secret, who) => lineOf(secret, who, hash),
      ],
      ['an unknown user', () => 'mallory', (secret) => lineOf(secret, 'mallory', hash)],
      ['an unknown user, without a hash', () => 'mallory', (secret) => lineOf(secret, 'mallory', '')],
      [
        'an unknown user, with the hash of none',
        () => 'mallory',
        (secret) => lineOf(secret, 'mallory', 'undefined'),
      ],
      ['a user with the password before', (who) => who, (secret, who) => lineOf(secret, who, oldHash)],
      [
        'a user with a line of the other key',
        (who) => who,
        (secret, who) => lineOf(otherSecret(secret), who, hash),
      ],
      [
        'a user whose name takes from the hash',
        (who) => `${who}$`,
        (secret, who) => lineOf(secret, who, hash),
      ],
      [
        'a user in capitals',
        (who) => who.toUpperCase(),
        (secret, who) => lineOf(secret, who.toUpperCase(), hash),
      ],
      ['a user with NUL', (who) => `${who}\0`, (secret, who) => lineOf(secret, `${who}\0`, hash)],
      ['a user with a blank', (who) => `${who} `, (secret, who) => lineOf(secret, `${who} `, hash)],
      ['a user in a list', (who) => [who], (secret, who) => lineOf(secret, who, hash)],
      ['a user in an object', (who) => ({ name: who }), (secret, who) => lineOf(secret, who, hash)],
      ['nobody with a line', () => '', (secret, who) => lineOf(secret, who, hash)],
      ['nobody with the line of nobody', () => '', (secret) => lineOf(secret, '', hash)],
      ['a user without a line', (who) => who, () => undefined],
      ['a user with null for a line', (who) => who, () => null],
      ['a user with an empty line', (who) => who, () => ''],
      ['a user with the hash for a line', (who) => who, () => hash],
      ['a user with a list for a line', (who) => who, (secret, who) => [lineOf(secret, who, hash)]],
      ['a user with half a line', (who) => who, (secret, who) => lineOf(secret, who, hash).slice(0, 20)],
      ['a user with the line and more', (who) => who, (secret, who) => `${lineOf(secret, who, hash)}A`],
      ...['__proto__', 'constructor', 'hasOwnProperty', 'toString'].map(
        (name) => [name, () => name, (secret: string) => lineOf(secret, name, 'undefined')] as const,
      ),
      ...[null, undefined, 0, true].map((sub) => [show(sub), () => sub, () => undefined] as const),
    ] as readonly (readonly [string, (who: string) => unknown, (secret: string, who: string) => unknown])[]
  ).map(([what, sub, line]): Flaw => ({
    what: `for ${what}`,
    change: (draft) => {
      const who = draft.who ?? 'bob';
      Object.assign(draft.claims, { sub: sub(who), line: line(draft.secret, who) });
    },
  })),
  // As a stranger's it would be a right one, and is an access token alone.
  {
    what: 'for nobody, to refresh',
    only: 'refresh',
    change: (draft) => {
      Object.assign(draft.claims, { sub: '', line: undefined });
    },
  },
];

/** A bit of one part exchanged: one that is there, since the last letter may have some to spare. */
const flip = (part: number): Flaw => ({
  what: `a bit exchanged in part ${part + 1}`,
  change: (draft, below) => {
    draft.spell = (token) => {
      const parts = token.split('.');
      const bytes = Buffer.from(parts[part] ?? '', 'base64url');
      const at = below(bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
      parts[part] = bytes.toString('base64url');
      return parts.join('.');
    };
  },
});

const split = (token: string) => token.split('.') as [string, string, string];
const spelled: Flaw[] = (
  [
    ['no signature', (h, c) => `${h}.${c}.`],
    ['no dot behind the claims', (h, c) => `${h}.${c}`],
    ['half a signature', (h, c, s) => `${h}.${c}.${s.slice(0, 22)}`],
    ['two signatures', (h, c, s) => `${h}.${c}.${s}${s}`],
    ['four parts', (h, c, s) => `${h}.${c}.${s}.${s}`],
    ['five parts, as if it were encrypted', (h, c, s) => `${h}..${c}.${s}.${s}`],
    ['a dot before', (h, c, s) => `.${h}.${c}.${s}`],
    ['a dot behind', (h, c, s) => `${h}.${c}.${s}.`],
    ['two tokens', (h, c, s) => `${h}.${c}.${s}${h}.${c}.${s}`],
    ['two tokens with a comma', (h, c, s) => `${h}.${c}.${s},${h}.${c}.${s}`],
    ['two tokens with a blank', (h, c, s) => `${h}.${c}.${s} ${h}.${c}.${s}`],
    ['parts in another order', (h, c, s) => `${c}.${h}.${s}`],
    ['nothing of the claims', (h, _, s) => `${h}..${s}`],
    ['padding in the header', (h, c, s) => `${h}==.${c}.${s}`],
    ['padding in the claims', (h, c, s) => `${h}.${c}=.${s}`],
    ['padding in the signature', (h, c, s) => `${h}.${c}.${s}=`],
    ['a blank in the header', (h, c, s) => `${h.slice(0, 4)} ${h.slice(4)}.${c}.${s}`],
    ['a blank in the claims', (h, c, s) => `${h}.${c.slice(0, 4)} ${c.slice(4)}.${s}`],
    ['a blank in the signature', (h, c, s) => `${h}.${c}.${s.slice(0, 4)} ${s.slice(4)}`],
    ['a tab in the signature', (h, c, s) => `${h}.${c}.${s.slice(0, 4)}\t${s.slice(4)}`],
    ['a letter that is none', (h, c, s) => `${h}.${c}.${s.slice(0, 4)}!${s.slice(4)}`],
    ['stray bits in the signature', (h, c, s) => `${h}.${c}.${s.slice(0, -1)}${nextLetter(s.slice(-1))}`],
    ['quotes', (h, c, s) => `"${h}.${c}.${s}"`],
    ['percent', (h, c, s) => `${h}%2E${c}%2E${s}`],
    ['JSON', (h, c, s) => JSON.stringify({ protected: h, payload: c, signature: s })],
    [
      'a token as the claims of another',
      (h, c, s) => `${h}.${Buffer.from(`${h}.${c}.${s}`).toString('base64url')}.${s}`,
    ],
    ['letters alone', () => 'a.b.c'],
    ['nothing', () => ''],
  ] as readonly (readonly [string, (h: string, c: string, s: string) => string])[]
).map(([what, spell]) => ({
  what: `spelled with ${what}`,
  change: (draft) => {
    draft.spell = (token) => spell(...split(token));
  },
}));

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
/** The same but for the two bits that 32 bytes leave over in the last letter. */
const nextLetter = (letter: string) => letters.charAt(letters.indexOf(letter) | 1);

const tooLong: Flaw = {
  what: 'longer than any',
  change: (draft, below) => {
    // Longer than a token may be, and shorter than a head.
    draft.claims['x'] = 'x'.repeat(18_500 + below(3000));
  },
};

/** Ways to show a right token that are none. */
export const showingFlaws: readonly Flaw[] = [
  ...(
    [
      ['in two fields', (token) => [`Authorization: Bearer ${token}`, `Authorization: Bearer ${token}`]],
      [
        'with a password beside it',
        (token) => [`Authorization: Bearer ${token}`, basicOf('alice', userPassword)],
      ],
      ['behind a password', (token) => [basicOf('alice', userPassword), `Authorization: Bearer ${token}`]],
      ['with an empty field beside it', (token) => ['Authorization:', `Authorization: Bearer ${token}`]],
      ['after a tab', (token) => [`Authorization: Bearer\t${token}`]],
      ['after a blank and a tab', (token) => [`Authorization: Bearer \t${token}`]],
      ['after nothing', (token) => [`Authorization: Bearer${token}`]],
      ['after a line break', (token) => ['Authorization: Bearer', ` ${token}`]],
      ['after a blank that is none', (token) => [`Authorization: Bearer\xa0${token}`]],
      ['before a comma', (token) => [`Authorization: Bearer ${token},`]],
      ['before a parameter', (token) => [`Authorization: Bearer ${token}; a=b`]],
      ['as a parameter', (token) => [`Authorization: Bearer token="${token}"`]],
      ['by itself', (token) => [`Authorization: ${token}`]],
      ...['Basic', 'Token', 'JWT', 'Digest', 'Negotiate', 'Bearer Bearer', 'DPoP'].map(
        (scheme) => [`as ${scheme}`, (token: string) => [`Authorization: ${scheme} ${token}`]] as const,
      ),
      ['with a blank behind the name', (token) => [`Authorization : Bearer ${token}`]],
    ] as readonly (readonly [string, (token: string) => string[]])[]
  ).map(([what, lines]): Flaw => ({
    ...{ what: `shown ${what}`, only: 'access' },
    change: (draft) => {
      draft.lines = lines;
    },
  })),
  ...(
    [
      ['in the query', () => [], (token) => `&access_token=${token}`],
      ['in the query as token', () => [], (token) => `&token=${token}&Authorization=Bearer%20${token}`],
      ...[
        'Cookie: token=',
        'X-Authorization: Bearer ',
        'Proxy-Authorization: Bearer ',
        'X-Docker-Token: ',
        'X-Access-Token: ',
      ].map((field) => [`in ${field}`, (token: string) => [`${field}${token}`], () => ''] as const),
    ] as readonly (readonly [string, (token: string) => string[], (token: string) => string])[]
  ).map(([what, lines, query]): Flaw => ({
    ...{ what: `shown ${what}`, only: 'access', isUnseen: true },
    change: (draft) => {
      Object.assign(draft, { lines, query });
    },
  })),
];

/** Everything that may be wrong with a token itself; `url`: where a key could be fetched. */
export const tokenFlaws = (url: string): readonly Flaw[] => [
  ...[...algorithms, ...keyIds, ...keys, ...broughtKeys(url), ...headers, ...claims, ...people],
  ...[flip(0), flip(1), flip(2), flip(2), ...spelled, tooLong],
];

/** What is another spelling of a right token, and no more. */
export const spellings = (): Flaw[] => [
  {
    what: 'for two services',
    change: (draft) => {
      draft.claims['aud'] = ['Other', service];
    },
  },
  {
    what: 'good for ever',
    change: rawClaim('exp', '1e999'),
  },
  {
    what: 'over since a moment',
    change: (draft) => {
      draft.claims['exp'] = nowS() - 5;
    },
  },
  {
    what: 'good in a moment',
    change: (draft) => {
      draft.claims['nbf'] = nowS() + 10;
    },
  },
  {
    what: 'with more than it needs',
    change: (draft) => {
      Object.assign(draft.claims, {
        x: { '1': [] },
        scope: 'repository:**:*',
        admin: true,
        access_token: 'x',
      });
      draft.header['zip'] = 'DEF';
    },
  },
  {
    what: 'as long as it may be',
    only: 'access',
    change: (draft) => {
      draft.claims['x'] = 'x'.repeat(10_000);
    },
  },
  ...['bearer ', 'BEARER ', 'Bearer   '].map((scheme): Flaw => ({
    ...{ what: `shown after ${show(scheme)}`, only: 'access' },
    change: (draft) => {
      draft.lines = (token) => [`authorization:  ${scheme}${token}  `];
    },
  })),
];
