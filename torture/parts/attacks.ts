import path from 'node:path';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { atOnce } from '../support/at-once.ts';
import { stuffCredentials, throwHashBombs, throwMemoryBombs, timeNames } from '../support/bombs.ts';
import { listOddFiles, playTrick, preparedFolders, type FileTrick } from '../support/file-tricks.ts';
import { forgeHosts, injectFields } from '../support/forgery.ts';
import { injectIntoLog } from '../support/log-injection.ts';
import { openConfusionRig } from '../support/path-confusion.ts';
import { listCases, openSmugglingRig } from '../support/smuggling.ts';
import { forgeTokens } from '../support/token-forgery.ts';
import { requestTokens } from '../support/token-requests.ts';
import { poisonConfiguration } from '../support/yaml-pollution.ts';
import type { Form, Measured, Part, Trial } from '../trial.ts';

type Amounts = {
  /** Of request smuggling: forms by themselves, pairs of Content-Length and Transfer-Encoding, and several forms drawn at once. */
  readonly singles: number;
  readonly pairs: number;
  readonly drawn: number;
  readonly targets: number;
  readonly forged: number;
  readonly logged: number;
  /** Tokens drawn besides one for each flaw, and requests for tokens. */
  readonly tokens: number;
  readonly tokenRequests: number;
  readonly addresses: number;
};
const amounts: Readonly<Record<Form, Amounts>> = {
  quick: {
    singles: 200,
    pairs: 50,
    drawn: 50,
    targets: 500,
    forged: 120,
    logged: 60,
    tokens: 100,
    tokenRequests: 250,
    addresses: 8,
  },
  ci: {
    singles: Infinity,
    pairs: 1500,
    drawn: 2000,
    targets: 20_000,
    forged: 3000,
    logged: 1500,
    tokens: 4000,
    tokenRequests: 4000,
    addresses: 100,
  },
  long: {
    singles: Infinity,
    pairs: Infinity,
    drawn: 20_000,
    targets: 150_000,
    forged: 20_000,
    logged: 10_000,
    tokens: 25_000,
    tokenRequests: 25_000,
    addresses: 250,
  },
};
const casesPerRig = 6000;
const targetsAtATime = 10_000;

/** The attempts of an attacker who knows the program, against the real one, with healthy clients beside. */
export const attacks: Part = {
  name: 'attacks',
  open: ({ form, seed }) => {
    const amount = amounts[form];
    const isShort = form === 'quick';
    const trials: Trial[] = [
      {
        name: 'request smuggling: upstream gets what was sent with a password, and everybody the own answer',
        run: () => smuggle(seed, amount),
      },
      {
        name: "path confusion: a registry takes each request for what the front door's policy, cache and audit took it for",
        run: () => confuse(seed, amount.targets),
      },
      {
        name: 'forged Host and X-Forwarded-*: no Location points anywhere but to where the client asked',
        run: async () => {
          const { faults, pointing } = await forgeHosts(seed, amount.forged);
          if (pointing === 0) faults.push('no answer pointed anywhere: nothing was tried');
          return report(faults, amount.forged);
        },
      },
      {
        name: 'header injection: a field arrives byte for byte, and alone, or not at all',
        run: async () => {
          const { faults, arrived } = await injectFields(seed, amount.forged);
          if (arrived === 0) faults.push('none arrived: nothing was tried');
          return report(faults, amount.forged);
        },
      },
      {
        name: 'forged and mixed-up tokens: refused, and right ones are good for what they say and the policy allows',
        run: async () => {
          const { faults, tried, taken, refused } = await forgeTokens(seed, amount.tokens);
          if (taken === 0 || refused === 0) faults.push('none was taken, or none was refused');
          return report(faults, tried);
        },
      },
      {
        name: 'odd requests for tokens: what is given is for whoever asked, and for no more than the policy allows',
        run: async () => {
          const { faults, given, refused, used } = await requestTokens(seed, amount.tokenRequests);
          if (given === 0 || refused === 0 || used === 0) faults.push('none was given, refused or used');
          return report(faults, amount.tokenRequests);
        },
      },
      ...(isShort ? (['json', 'pretty'] as const) : (['json', 'ecs', 'pretty'] as const)).map((format) => ({
        name: `log injection (${format}): one line for each request, whole, and nothing in it that acts`,
        run: () => injectIntoLog(format, seed, amount.logged),
      })),
      { name: 'memory bombs: passed on byte for byte, and not held', run: throwMemoryBombs },
      { name: 'hash bombs in the htpasswd file: never computed', run: throwHashBombs },
      {
        name: 'credential stuffing from many addresses: most is not even looked at, a right password no more than others, and who works on notices nothing',
        run: () => stuff(seed, amount.addresses),
      },
      {
        name: 'prototype pollution and bombs in the configuration: refused in plain sentences',
        run: () => inFolder((dir) => poisonConfiguration(dir, isShort)),
      },
      {
        name: 'odd files in the place of keys, certificates and users: the start ends with one sentence',
        run: () => playAll(listOddFiles(isShort)),
      },
      {
        name: 'links, locks and modes prepared for "user add" and "cert create"',
        // Another half with each seed, where there is little time.
        run: () => playAll(preparedFolders.filter((_, i) => !isShort || (i + seed) % 2 === 0)),
      },
      ...(form === 'long'
        ? [
            {
              name: 'timing: refusals of a name that exists and of names that do not take the same time',
              run: measureNames,
            },
          ]
        : []),
    ];
    // Each has its own Tidegate: what they do to it differs too much.
    return Promise.resolve({ trials, close: () => Promise.resolve() });
  },
};

async function smuggle(seed: number, amount: Amounts): Promise<Measured> {
  let [tried, answered, exposed] = [0, 0, 0];
  let isDone = false;
  const cases = listCases(seed, amount);
  while (!isDone) {
    const rig = await openSmugglingRig();
    const some = takeSome(cases, casesPerRig);
    let faults: readonly string[] = [];
    try {
      faults = (await rig.attack(some.items)).faults;
    } finally {
      const victims = await rig.close();
      answered += victims.answered;
      exposed += victims.exposed;
    }
    tried += report(faults, some.items.length);
    isDone = some.isLast;
  }
  const figure = `During request smuggling other clients got ${answered} right answers, ${exposed} of them over upstream connections that an attacker had used.`;
  return { cases: tried, figure };
}

function takeSome<T>(all: Iterator<T, void>, count: number): { items: T[]; isLast: boolean } {
  const items: T[] = [];
  while (items.length < count) {
    const next = all.next();
    if (next.done === true) return { items, isLast: true };
    items.push(next.value);
  }
  return { items, isLast: false };
}

async function confuse(seed: number, count: number): Promise<number> {
  const rig = await openConfusionRig();
  let tried = 0;
  let mounted = 0;
  try {
    for (let from = 0; from < count; from += targetsAtATime) {
      const outcome = await rig.compare(seed + from, Math.min(targetsAtATime, count - from));
      if (outcome.resolved === 0) throw new Error('the registry resolved nothing: nothing was tried');
      mounted += outcome.mounted;
      tried += report(outcome.faults, outcome.asked);
    }
  } finally {
    await rig.close();
  }
  if (mounted === 0) throw new Error('no blob was mounted even where it may be: nothing was tried');
  return tried;
}

async function stuff(seed: number, addresses: number): Promise<number> {
  const { tried, lookedAt, ofOneName, served } = await stuffCredentials(seed, addresses, triesEach);
  const faults: string[] = [];
  // Ten from an address, thirty for a name, and those that were under way when it came to that.
  if (lookedAt > addresses * (addressFailures + 1))
    faults.push(`${lookedAt} of ${tried} guesses were looked at`);
  if (ofOneName > nameFailures + addresses) faults.push(`${ofOneName} guesses were looked at for one name`);
  if (2 * lookedAt > tried) faults.push(`most was looked at: ${lookedAt} of ${tried}`);
  if (lookedAt === 0 || served === 0) faults.push('nothing was tried');
  return report(faults, tried);
}

const triesEach = 40;
const addressFailures = 10;
const nameFailures = 30;

async function playAll(tricks: readonly FileTrick[]): Promise<number> {
  const faults: string[] = [];
  await atOnce(4, tricks, async (trick) => {
    await playTrick(trick).catch((error: unknown) => faults.push(`${trick.name}: ${String(error)}`));
  });
  return report(faults, tricks.length);
}

/** Beyond this the two differ (Welch's t, as in the leakage tests of ISO/IEC 17825). */
const maxT = 4.5;

async function measureNames(): Promise<Measured> {
  const pairs = 1000;
  const { known, unknown } = await timeNames(pairs);
  const [a, b] = [describe(known), describe(unknown)];
  const welch = (a.mean - b.mean) / Math.sqrt(a.variance / a.kept + b.variance / b.kept);
  const show = ({ mean, median, kept }: typeof a) =>
    `mean ${mean.toFixed(3)} ms, median ${median.toFixed(3)} ms of ${kept}`;
  const figure = `Refusals of a known name: ${show(a)}; of unknown ones: ${show(b)}; the slowest twentieth of each left out. Welch's t = ${welch.toFixed(2)}; beyond ${maxT} they could be told apart.`;
  if (Math.abs(welch) > maxT) throw new Error(figure);
  return { cases: 2 * pairs, figure };
}

function describe(times: readonly number[]): {
  mean: number;
  median: number;
  variance: number;
  kept: number;
} {
  const sorted = [...times].sort((one, other) => one - other);
  // Without the slowest twentieth, which is the machine's.
  const kept = sorted.slice(0, Math.ceil(sorted.length * 0.95));
  const mean = kept.reduce((sum, time) => sum + time, 0) / kept.length;
  const variance = kept.reduce((sum, time) => sum + (time - mean) ** 2, 0) / (kept.length - 1);
  return { mean, variance, kept: kept.length, median: sorted[Math.floor(sorted.length / 2)] ?? NaN };
}

async function inFolder(act: (dir: string) => Promise<number>): Promise<number> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-attack-'));
  try {
    return await act(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Gives the count where nothing was found. @throws Error with the first faults. */
function report(faults: readonly string[], count: number): number {
  if (faults.length === 0) return count;
  throw new Error(`${faults.length} faults, the first:\n${faults.slice(0, 3).join('\n')}`);
}
