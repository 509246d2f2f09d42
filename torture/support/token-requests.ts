import { parse } from 'node:querystring';
import { service, userPassword, users } from '../../test/support/cases/token-draft.ts';
import { head, values } from '../../test/support/http-message.ts';
import { clientHost, type Response } from '../../test/support/raw-client.ts';
import { basicOf, type TokenAnswer } from '../../test/support/tokens.ts';
import { atOnce } from './at-once.ts';
import { anyByte, characters, damaged, inOrder, oneOf, repeated, usually, type Rule } from './grammar.ts';
import { createRandom, type Random } from './random.ts';
import { readToken } from './token-forgery.ts';
import { grantOf, readScopes, repositories, wordsOf } from './token-model.ts';
import { drawProbe, openTokenRig, type TokenRig } from './token-rig.ts';

const name = usually(
  oneOf(...repositories),
  4,
  oneOf(
    ...[
      'app',
      'a//b',
      'TEAM/app',
      'team/**',
      '../team/app',
      'team/app:5000',
      '**',
      '',
      'public',
      'a__b',
      'a..b',
      '-a',
    ],
    ...['team/app/', '/team/app', 'host:5000/team/app', '__proto__', 'team\u00e4/app', 'a'.repeat(256)],
    inOrder(characters('ab-_.', 1, 6), '/', characters('ab-_.', 1, 6)),
  ),
);
const actions = repeated(
  usually(
    oneOf('pull', 'push', 'delete', '*'),
    6,
    oneOf('', 'PULL', 'overwrite', 'pull ', 'all', '**', '__proto__', 'pull;push'),
  ),
  0,
  4,
  usually(',', 12, oneOf(',,', ';', '|', ' ')),
);
const type = usually(
  'repository',
  6,
  oneOf(
    'registry',
    'Repository',
    'repository(plugin)',
    'repository()',
    'repository(A)',
    'plugin',
    '',
    '*',
    'constructor',
  ),
);
/** Generates an almost valid scope. */
export const scopeText: Rule = oneOf(
  inOrder(type, ':', name, ':', actions),
  inOrder(type, ':', name, ':', actions),
  inOrder(type, ':', name, ':', actions),
  damaged(inOrder(type, ':', name, ':', actions), 2),
  oneOf(
    'registry:catalog:*',
    'registry:catalog:',
    'registry:catalog:pull',
    'repository',
    ':',
    '::',
    ':::',
    'repository::',
    '*',
  ),
);
/** Several, in one text. */
export const scopeTexts: Rule = usually(
  repeated(scopeText, 0, 4, usually(' ', 8, oneOf('  ', '\t', '\n', ',', '\u00a0', '\0'))),
  15,
  repeated(scopeText, 28, 36, ' '),
);

type Parameter = readonly [name: string, value: string];
/** A request for a token, and its client. */
type Request = {
  readonly method: 'GET' | 'POST';
  readonly text: string;
  /** The subject of the token; null: anonymous. */
  readonly who: string | null;
  /** The parameters as another parser reads them. */
  readonly parameters: ReadonlyMap<string, readonly string[]>;
  /** The allowed refusals; without any, the answer must be a token. */
  readonly refusals: ReadonlySet<number>;
  readonly wantsRefreshToken: boolean;
};

/** Texts of a form, some of what could stand as it is written otherwise. */
function encodeForm(parameters: readonly Parameter[], random: Random): string {
  const encode = (text: string) =>
    Array.from(new TextEncoder().encode(text), (byte) => {
      const letter = String.fromCharCode(byte);
      if (/[A-Za-z0-9._~:/,*()-]/.test(letter) && !random.onceIn(40)) return letter;
      if (letter === ' ') return random.pick(['+', '%20']);
      const digits = byte.toString(16).padStart(2, '0');
      return `%${random.onceIn(2) ? digits : digits.toUpperCase()}`;
    }).join('');
  return parameters
    .map(([key, value]) => `${encode(key)}=${encode(value)}`)
    .join(random.onceIn(20) ? '&&' : '&');
}

/** By Node's older reader of such texts, which the program has nothing of. */
function decodeForm(text: string): Map<string, string[]> {
  const read = parse(text, '&', '=', { maxKeys: 0 });
  return new Map(Object.entries(read).map(([key, value]) => [key, [value ?? []].flat()]));
}

const serviceParameter: readonly (readonly Parameter[])[] = [
  [['service', service]],
  [['service', service]],
  [['service', service]],
  [],
  [['Service', 'Other']],
];
const wrongService: readonly (readonly Parameter[])[] = [
  [['service', 'Other']],
  [['service', '']],
  [['service', ` ${service}`]],
  [['service', service.toLowerCase()]],
  [
    ['service', service],
    ['service', service],
  ],
];

function drawCommon(random: Random): Parameter[] {
  const scopes = Array.from({ length: random.pick([0, 1, 1, 2, 4]) }, (): Parameter => [
    'scope',
    scopeTexts(random),
  ]);
  const others = [
    ...[
      ['account', random.pick(users)],
      ['client_id', 'docker'],
      ['Scope', 'repository:closed/app:*'],
      ['scope[]', 'repository:closed/app:*'],
    ],
    ...[
      ['sub', 'alice'],
      ['user', 'alice'],
      ['access', 'x'],
      ['__proto__', 'x'],
      ['username[]', 'alice'],
      ['constructor', 'y'],
    ],
  ] as const;
  const odd = Array.from({ length: random.below(3) }, (): Parameter => random.pick(others));
  return shuffle(random, [
    ...random.pick(random.onceIn(12) ? wrongService : serviceParameter),
    ...scopes,
    ...odd,
  ]);
}

function shuffle<T>(random: Random, items: readonly T[]): T[] {
  const left = [...items];
  return items.map(() => left.splice(random.below(left.length), 1)).flat();
}

/** What is refused of both forms. */
function commonRefusals(parameters: ReadonlyMap<string, readonly string[]>): number[] {
  const asked = parameters.get('service') ?? [service];
  const isWrong =
    asked.length > 1 ||
    asked[0]?.toLowerCase() !== service.toLowerCase() ||
    readScopes(parameters.get('scope') ?? []) === null;
  return isWrong ? [400] : [];
}

function drawGet(random: Random, token: string): Request {
  const offline = random.pick<readonly Parameter[]>([
    ...([
      [],
      [],
      [['offline_token', 'true']],
      [['offline_token', '1']],
      [['offline_token', 'false']],
      [['Offline_Token', 'true']],
    ] as const),
    [
      ['offline_token', 'true'],
      ['offline_token', 'true'],
    ],
  ]);
  const query = encodeForm(shuffle(random, [...drawCommon(random), ...offline]), random);
  const who = random.pick(users);
  const right = basicOf(who, userPassword);
  const [lines, asker, isRefused] = random.pick<readonly [string[], string | null, boolean]>([
    ...Array.from({ length: 8 }, () => [[right], who, false] as const).map(
      ([l, w, r]) => [[...l], w, r] as [string[], string | null, boolean],
    ),
    [[], null, false],
    [[], null, false],
    [[basicOf(who, 'wrong')], null, true],
    [[basicOf('mallory', userPassword)], null, true],
    [[basicOf('__proto__', '')], null, true],
    [[right, right], null, true],
    [[right, basicOf('alice', userPassword)], null, true],
    [['Authorization:'], null, true],
    [['Authorization: Basic'], null, true],
    // A token is no proof for another one.
    [[`Authorization: Bearer ${token}`], null, true],
    [[right, `Authorization: Bearer ${token}`], null, true],
  ]);
  const parameters = decodeForm(query);
  const offlines = parameters.get('offline_token') ?? [];
  return {
    method: 'GET',
    text: head(`GET /token?${query} HTTP/1.1`, `Host: ${clientHost}`, ...lines),
    ...{ who: asker, parameters },
    refusals: new Set([
      ...commonRefusals(parameters),
      ...(isRefused ? [401] : []),
      ...(offlines.length > 1 ? [400] : []),
    ]),
    wantsRefreshToken: asker !== null && offlines[0] === 'true',
  };
}

const rightTypes = [
  ...[
    'application/x-www-form-urlencoded',
    'application/x-www-form-urlencoded',
    'Application/X-WWW-Form-URLEncoded',
  ],
  ...['application/x-www-form-urlencoded; charset=utf-8', 'application/x-www-form-urlencoded ;a=b'],
];
const wrongTypes = [
  ...[
    'application/json',
    'text/plain',
    'multipart/form-data; boundary=x',
    'application/x-www-form-urlencodedx',
    '',
  ],
  ...[
    'application/x-www-form-urlencoded,text/plain',
    'x application/x-www-form-urlencoded',
    'application/x-www-form',
  ],
];
const maxFormBytes = 32_768;

function drawPost(random: Random, refreshTokens: ReadonlyMap<string, string>): Request {
  const who = random.pick(users);
  const refreshToken = refreshTokens.get(who) ?? '';
  const password: readonly Parameter[] = [
    ['grant_type', 'password'],
    ['username', who],
    ['password', userPassword],
  ];
  const refresh: readonly Parameter[] = [
    ['grant_type', 'refresh_token'],
    ['refresh_token', refreshToken],
  ];
  const [grant, isRight] = random.pick<readonly [readonly Parameter[], boolean]>([
    ...([
      [password, true],
      [password, true],
      [password, true],
      [refresh, true],
      [refresh, true],
    ] as const),
    // What is not asked for does not count.
    [[...refresh, ['username', 'alice'], ['password', userPassword]], true],
    [[...password, ['refresh_token', refreshTokens.get('alice') ?? '']], true],
    [[...password, ['Username', 'alice'], ['user', 'alice']], true],
    [[...password, ['grant_type', 'password']], false],
    [[...password, ...refresh], false],
    [[...password, ['username', 'alice']], false],
    [[...password, ['password', userPassword]], false],
    [
      [
        ['grant_type', 'password'],
        ['username', who],
        ['password', 'wrong'],
      ],
      false,
    ],
    [
      [
        ['grant_type', 'password'],
        ['username', `${who}:${userPassword}`],
        ['password', ''],
      ],
      false,
    ],
    [
      [
        ['grant_type', 'password'],
        ['username', `${who}\0`],
        ['password', userPassword],
      ],
      false,
    ],
    [
      [
        ['grant_type', 'password'],
        ['username', ''],
        ['password', userPassword],
      ],
      false,
    ],
    [
      [
        ['grant_type', 'password'],
        ['username', '__proto__'],
        ['password', ''],
      ],
      false,
    ],
    [
      [
        ['grant_type', 'password'],
        ['username', who],
      ],
      false,
    ],
    [
      [
        ['grant_type', 'password'],
        ['password', userPassword],
      ],
      false,
    ],
    [[...refresh, ['refresh_token', refreshToken]], false],
    [
      [
        ['grant_type', 'refresh_token'],
        ['refresh_token', ''],
      ],
      false,
    ],
    [[['grant_type', 'refresh_token']], false],
    [
      [
        ['grant_type', 'client_credentials'],
        ['username', who],
        ['password', userPassword],
      ],
      false,
    ],
    [
      [
        ['grant_type', 'Password'],
        ['username', who],
        ['password', userPassword],
      ],
      false,
    ],
    [[['grant_type', '__proto__']], false],
    [
      [
        ['username', who],
        ['password', userPassword],
      ],
      false,
    ],
    [[], false],
  ]);
  const access = random.pick<readonly Parameter[]>([
    [],
    [],
    [['access_type', 'offline']],
    [['access_type', 'online']],
    [
      ['access_type', 'offline'],
      ['access_type', 'offline'],
    ],
  ]);
  const unpadded = encodeForm(shuffle(random, [...drawCommon(random), ...grant, ...access]), random);
  // Up to the last byte that may be, one more, and many more.
  const length = random.onceIn(8)
    ? random.pick([maxFormBytes, maxFormBytes, maxFormBytes + 1, maxFormBytes + 5000])
    : 0;
  const body = length < unpadded.length ? unpadded : `${unpadded}&x=`.padEnd(length, 'x');
  const isOfType = !random.onceIn(10);
  const contentType = random.pick(isOfType ? rightTypes : wrongTypes);
  const isChunked = random.onceIn(2);
  const typeLines = contentType === '' && random.onceIn(2) ? [] : [`Content-Type: ${contentType}`];
  // Whoever is named there is not asked.
  const others = random.onceIn(6) ? [basicOf('alice', userPassword)] : [];
  const lines = [
    ...typeLines,
    isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`,
    ...others,
  ];
  const parameters = decodeForm(body);
  const accessTypes = parameters.get('access_type') ?? [];
  const isBad = !isRight || !isOfType || accessTypes.length > 1;
  return {
    method: 'POST',
    text:
      head('POST /token HTTP/1.1', `Host: ${clientHost}`, ...lines) + (isChunked ? cut(random, body) : body),
    ...{ who, parameters },
    refusals:
      isOfType && body.length > maxFormBytes
        ? new Set([413])
        : new Set([
            ...commonRefusals(parameters),
            ...(isBad ? [400] : []),
            ...(body.length > maxFormBytes ? [413] : []),
          ]),
    wantsRefreshToken: accessTypes[0] === 'offline' && grant[0]?.[1] === 'password',
  };
}

/** A body in chunks of any size. */
function cut(random: Random, body: string): string {
  let text = '';
  for (let at = 0; at < body.length;) {
    const piece = body.slice(
      at,
      at + 1 + random.below(random.pick([1, 30, 3000])) + (body.length > 5000 ? 500 : 0),
    );
    text += `${piece.length.toString(16)}${random.onceIn(5) ? ';a=b' : ''}\r\n${piece}\r\n`;
    at += piece.length;
  }
  return `${text}0\r\n\r\n`;
}

/** Almost the endpoint: nothing there may give a token. */
const elsewhere: Rule = oneOf(
  ...[
    'GET /token/',
    'GET /Token',
    'GET /%74oken',
    'GET /v2/token',
    'GET /token;a=b',
    'GET //token',
    'GET /token%3Fscope=x',
  ],
  ...[
    'HEAD /token',
    'OPTIONS /token',
    'GET /./token',
    'GET /v2/../token',
    'GET /token%00',
    'DELETE /token',
    'GET /auth/token',
  ],
  inOrder('GET /token', repeated(anyByte, 1, 3)),
);

export type TokenRequests = {
  readonly faults: string[];
  readonly given: number;
  readonly refused: number;
  readonly used: number;
};

/** Requests tokens in odd ways, and compares the answers with the model; uses some of the tokens. */
export async function requestTokens(seed: number, count: number): Promise<TokenRequests> {
  const rig = await openTokenRig();
  const faults: string[] = [];
  let [given, refused, used] = [0, 0, 0];
  const random = createRandom(seed);
  try {
    const refreshTokens = new Map<string, string>();
    let token = '';
    for (const who of users) {
      const form = `grant_type=password&username=${who}&password=${userPassword}&access_type=offline`;
      const lines = [
        `Host: ${clientHost}`,
        'Content-Type: application/x-www-form-urlencoded',
        `Content-Length: ${form.length}`,
      ];
      const answer = await rig.send('POST', head('POST /token HTTP/1.1', ...lines) + form);
      const login = JSON.parse(answer.body.toString()) as TokenAnswer;
      refreshTokens.set(who, login.refresh_token ?? '');
      token = login.token;
    }
    await atOnce(8, Array(count).keys(), async (number) => {
      const one = random.fork(number);
      if (one.onceIn(25)) {
        const line = elsewhere(one)
          .replace(/[\0-\x1f\x7f]/g, '')
          .replace(/^(\S+ \/\S*).*$/, '$1');
        const [method = ''] = line.split(' ');
        const text = head(`${line} HTTP/1.1`, `Host: ${clientHost}`, basicOf('alice', userPassword));
        const { status, body } = await rig.send(method, text);
        const isEndpoint = /^GET \/token(?:$|\?)/.test(line);
        if (!isEndpoint && status === 200 && body.includes('token"')) faults.push(`${line} gave a token`);
        return;
      }
      const request = one.onceIn(2) ? drawGet(one, token) : drawPost(one, refreshTokens);
      const response = await rig.send(request.method, request.text);
      const fault = judge(request, response);
      if (fault !== null) faults.push(`${JSON.stringify(request.text.slice(0, 3000))} ${fault}`);
      if (response.status !== 200) refused += 1;
      if (response.status !== 200 || fault !== null) return;
      given += 1;
      if (!one.onceIn(3)) return;
      used += 1;
      const useFault = await use(rig, request, response, one, `${seed}.${number}`);
      if (useFault !== null)
        faults.push(`the token for ${JSON.stringify(request.text.slice(0, 3000))} ${useFault}`);
    });
  } finally {
    faults.push(...(await rig.close()));
  }
  return { faults, given, refused, used };
}

const askedOf = ({ parameters }: Request) => readScopes(parameters.get('scope') ?? []);

/** Describes where an answer differs from the model's. */
function judge(request: Request, response: Response): string | null {
  const { refusals, who } = request;
  const { status, body } = response;
  const expected = refusals.size === 0 ? [200] : [...refusals];
  if (!expected.includes(status))
    return `was answered ${status}, and not ${expected.join(' or ')}: ${body.toString().slice(0, 300)}`;
  if (status !== 200) return body.includes('"token"') ? 'was refused with a token' : null;
  const answer = JSON.parse(body.toString()) as TokenAnswer;
  const claims = readToken(answer.token);
  const asked = askedOf(request);
  const words = asked === null ? '' : grantOf(who, asked).join();
  if (claims['sub'] !== (who ?? ''))
    return `gave a token for ${String(claims['sub'])}, and not ${String(who)}`;
  if (wordsOf(claims['access']).join() !== words)
    return `gave ${wordsOf(claims['access']).join()}, and not ${words}`;
  if (claims['aud'] !== service || Number(claims['exp']) - Number(claims['iat']) !== 300)
    return 'gave it for another service or time';
  if (answer.access_token !== answer.token) return 'gave two tokens';
  if (values(response, 'cache-control')[0] !== 'no-store') return 'may be stored';
  if ((answer.refresh_token !== undefined) !== request.wantsRefreshToken)
    return 'gave a refresh token unasked, or none';
  if (answer.refresh_token === undefined) return null;
  const refresh = readToken(answer.refresh_token, 'refresh');
  return refresh['sub'] === who && !('access' in refresh) ? null : 'gave a refresh token for more';
}

/** Uses a token for what it allows and for other requests. */
function use(
  rig: TokenRig,
  request: Request,
  response: Response,
  random: Random,
  mark: string,
): Promise<string | null> {
  const { token } = JSON.parse(response.body.toString()) as TokenAnswer;
  const asked = askedOf(request);
  const words = new Set(asked === null ? [] : grantOf(request.who, asked));
  return rig.tryOut(drawProbe(random, mark), [`Authorization: Bearer ${token}`], { who: request.who, words });
}
