import { createHmac } from 'node:crypto';
import {
  draftToken,
  keyFor,
  kinds,
  makeToken,
  secrets,
  service,
  users,
  type Draft,
  type Kind,
  type Part,
} from '../../test/support/cases/token-draft.ts';
import { showingFlaws, spellings, tokenFlaws, type Flaw } from '../../test/support/cases/token-flaws.ts';
import { head } from '../../test/support/http-message.ts';
import { clientHost } from '../../test/support/raw-client.ts';
import { atOnce } from './at-once.ts';
import { createRandom, type Random } from './random.ts';
import { grantOf, repositories, wordsOf, type AskedScopes } from './token-model.ts';
import { drawProbe, mayDo, openTokenRig, type Bearer, type TokenRig } from './token-rig.ts';

const scopeNames = [...repositories, '', '*', '**', 'team/*', '__proto__', 'TEAM/APP', 'team/app/'];
const actionLists = [
  ['pull'],
  ['pull', 'push'],
  ['push'],
  ['pull', 'push', 'delete'],
  ['*'],
  [],
  ['PULL', 'push'],
];

/** What the claim says of repositories: of more than the user may have, and of odd names too. */
function drawScopes(random: Random, who: string | null): Part[] {
  const name = who === null ? 'public/app' : random.pick(repositories);
  const others = Array.from({ length: random.below(5) }, () =>
    random.onceIn(12)
      ? { type: 'registry', name: random.pick(['catalog', 'team/app']), actions: random.pick(actionLists) }
      : { type: 'repository', name: random.pick(scopeNames), actions: random.pick(actionLists) },
  );
  return [{ type: 'repository', name, actions: ['pull', 'push', 'delete'] }, ...others];
}

function drawDraft(random: Random, kind: Kind): Draft {
  const who = kind === 'refresh' ? random.pick(users) : random.pick([...users, ...users, null]);
  return draftToken(kind, who, random.pick(secrets), drawScopes(random, who));
}

export type Forgeries = {
  readonly faults: string[];
  readonly tried: number;
  readonly taken: number;
  readonly refused: number;
};

/** Shows forged tokens, each of the flaws once with each kind and then as many as there are to be, and right ones between them. */
export async function forgeTokens(seed: number, count: number): Promise<Forgeries> {
  const rig = await openTokenRig();
  const faults: string[] = [];
  let [tried, taken, refused] = [0, 0, 0];
  const listed = [...tokenFlaws(rig.url), ...showingFlaws];
  const all = spellings();
  const random = createRandom(seed);
  const tryOne = async (number: number, kind: Kind, flaw: Flaw | null): Promise<void> => {
    const one = random.fork(number);
    const draft = drawDraft(one, kind);
    const words = new Set(wordsOf(draft.claims['access'] ?? []));
    const mayBeSpelled = flaw?.isUnseen !== true && one.onceIn(2);
    const spelling = mayBeSpelled ? one.pick(all.filter(({ only = kind }) => only === kind)) : null;
    for (const change of [spelling?.change, flaw?.change]) change?.(draft, (limit) => one.below(limit));
    const token = makeToken(draft);
    const bearer: Bearer | null =
      flaw === null ? { who: draft.who, words } : flaw.isUnseen === true ? { who: null, words: null } : null;
    tried += 1;
    if (bearer === null) refused += 1;
    const fault =
      kind === 'access'
        ? await showAccess(rig, draft, { token, bearer, words, random: one, mark: `${seed}.${number}` })
        : await showRefresh(rig, token, draft.who, bearer !== null, one);
    if (fault === null) taken += flaw === null ? 1 : 0;
    else
      faults.push(
        `${kind} token, ${flaw?.what ?? `right (${spelling?.what ?? 'plain'})`}: ${fault}; ${JSON.stringify(token.slice(0, 2000))}`,
      );
  };
  try {
    const fits = (kind: Kind) => listed.filter((flaw) => (flaw.only ?? kind) === kind);
    const each = (['access', 'refresh'] as const).flatMap((kind) =>
      fits(kind).map((flaw) => [kind, flaw] as const),
    );
    await atOnce(8, each.entries(), ([number, [kind, flaw]]) => tryOne(number, kind, flaw));
    await atOnce(8, Array(count).keys(), (number) => {
      const one = random.fork(-number - 2);
      const kind = one.onceIn(3) ? 'refresh' : 'access';
      return tryOne(each.length + number, kind, one.onceIn(2) ? null : one.pick(fits(kind)));
    });
  } finally {
    faults.push(...(await rig.close()));
  }
  return { faults, tried, taken, refused };
}

type Shown = {
  readonly token: string;
  readonly bearer: Bearer | null;
  readonly words: ReadonlySet<string>;
  readonly random: Random;
  readonly mark: string;
};

function showAccess(
  rig: TokenRig,
  { who, query, lines }: Draft,
  { token, bearer, words, random, mark }: Shown,
): Promise<string | null> {
  let probe = drawProbe(random, mark);
  // Mostly something that a token without the flaw would be good for: there it shows.
  for (let i = 0; i < 20 && !mayDo({ who, words }, probe.need) && !random.onceIn(20); i += 1)
    probe = drawProbe(random, mark);
  return rig.tryOut({ ...probe, target: `${probe.target}${query(token)}` }, lines(token), bearer);
}

/** Shows a refresh token; what it is answered with is to be for the same user, and for what he or she may do. */
async function showRefresh(
  rig: TokenRig,
  token: string,
  who: string | null,
  isRight: boolean,
  random: Random,
): Promise<string | null> {
  const name = random.pick(repositories);
  const asked: AskedScopes = {
    actions: new Map([[name, new Set(['pull', 'push', 'delete'])]]),
    catalog: false,
  };
  const form = { grant_type: 'refresh_token', refresh_token: token, scope: `repository:${name}:*`, service };
  const body = new URLSearchParams(form).toString();
  const type = 'Content-Type: application/x-www-form-urlencoded';
  const lines = [`Host: ${clientHost}`, type, `Content-Length: ${body.length}`];
  const { status, body: answer } = await rig.send('POST', head('POST /token HTTP/1.1', ...lines) + body);
  if (!isRight) return status === 400 || status === 413 ? null : `was answered ${status}`;
  if (status !== 200) return `was answered ${status}`;
  const given = readToken((JSON.parse(answer.toString()) as { token: string }).token);
  const words = wordsOf(given['access']).join();
  const expected = grantOf(who, asked).join();
  return given['sub'] === who && words === expected
    ? null
    : `gave ${String(given['sub'])} ${words}, and not ${expected}`;
}

/** The claims of a token that the first secret has signed. @throws Error when it has not. */
export function readToken(token: string, kind: Kind = 'access'): Part {
  const [header = '', claims = '', signature] = token.split('.');
  const key = keyFor(secrets[0] ?? '', kinds[kind].use);
  const expected = createHmac('sha256', key).update(`${header}.${claims}`).digest('base64url');
  if (signature !== expected) throw new Error(`a token with another signature was given: ${token}`);
  return JSON.parse(Buffer.from(claims, 'base64url').toString()) as Part;
}
