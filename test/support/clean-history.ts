import { setTimeout as pause } from 'node:timers/promises';
import type { CacheClient } from './cache-client.ts';
import { accepting, blobsOf, pullContent } from './history-pulls.ts';
import { createHistoryPushes, describeAnswer, type Content, type PushCounts } from './history-pushes.ts';
import { createRandom } from './random.ts';

/*
 * A history of pushes, mounts, moves, pulls and deletes in a registry that is cleaned at the same time, and a model of
 * what must be there afterwards. Each tag has one writer, so the last acknowledged write of it is known.
 */

/** Tags in these repositories are retired beyond the newest {@link newest} of each; those of the others never. */
export const retiringRepositories: readonly string[] = ['ci/app', 'ci/web', 'ci/jobs'];
const keepingRepositories = ['team/app', 'team/base', 'team/site', 'library/tools', 'library/run'] as const;
export const newest = 5;
/** How many tags one writer has in a repository, beside as many twins as {@link twins}. */
const [retiringTags, keepingTags, twins] = [12, 2, 2];
/** One image is pulled whole for so many pushes. In the end each is. */
const pushesPerPull = 8;

type TagState = {
  /** Null: deleted. */
  readonly content: Content | null;
  readonly startedAt: number;
  readonly endedAt: number;
  /** Counts writes, so that a reader knows whether one came between. */
  readonly version: number;
  readonly isWriting: boolean;
};

export type HistoryCounts = PushCounts & {
  pushes: number;
  /** Those of them that gave another tag to an image. */
  moves: number;
  deletes: number;
  pulls: number;
  /** Requests that were refused for now (503), and made again. */
  refused: number;
  /** Requests whose connection a front door cut, and made again. */
  broken: number;
};

export type History = {
  readonly counts: HistoryCounts;
  /** What was found wrong, in words. */
  readonly losses: readonly string[];
  /** Acts until it is enough, which is asked for time and again. */
  run(options: { writers: number; readers: number; isEnough: () => Promise<boolean> }): Promise<void>;
  /** Lets everybody rest more between two steps, up to so long. */
  ease(maxMs: number): void;
  /** Lets everybody rest less. */
  hurry(): void;
  /** Pulls everything that must be there, whole. Call it when nothing writes. */
  check(): Promise<void>;
  /** The digests of all that tags lead to now, as the registry has them. */
  reachable(): Promise<Set<string>>;
};

/** So often a request is made again, 50 ms apart. */
const maxAgain = 400;
const restStepMs = 20;
/** How many tags are checked at a time. */
const checkedAtOnce = 8;

/**
 * @param options clients: through those that are in it at the time. mayBreak: a front door may cut connections, and what became
 * of a request is then unknown.
 */
export function createHistory(options: {
  readonly clients: readonly CacheClient[];
  readonly seed: number;
  readonly mayBreak?: boolean;
}): History {
  const { clients, seed, mayBreak = false } = options;
  const random = createRandom(seed);
  const pick = <T>(from: readonly T[]): T => {
    const found = from[Math.floor(random() * from.length)];
    if (found === undefined) throw new Error('nothing to pick from');
    return found;
  };
  const counts: HistoryCounts = {
    ...{ pushes: 0, mounts: 0, existing: 0, resent: 0 },
    ...{ moves: 0, deletes: 0, pulls: 0, refused: 0, broken: 0 },
  };
  const losses: string[] = [];
  let restMs = 0;
  /** By `repository:tag`. */
  const tags = new Map<string, TagState>();

  const lose = (what: string) => {
    if (losses.length < 50) losses.push(`${new Date().toISOString()} ${what}`);
  };

  /** Asks again while a front door refuses for now, or cuts the connection. */
  const ask: CacheClient['ask'] = async (method, target, asked) => {
    for (let tries = 0; ; tries += 1) {
      const answer = await pick(clients)
        .ask(method, target, asked)
        .catch((error: unknown) => {
          if (!mayBreak || tries === maxAgain) throw error;
          counts.broken += 1;
          return null;
        });
      if (answer !== null) {
        if (answer.status !== 503 || tries === maxAgain) return answer;
        counts.refused += 1;
      }
      await pause(50);
    }
  };
  const mountsFrom = [...keepingRepositories, ...retiringRepositories];
  const push = createHistoryPushes({
    ...{ ask, seed, random, mountsFrom, counts, mayBreak },
  });

  const write = async (key: string, act: () => Promise<Content | null>): Promise<void> => {
    const before = tags.get(key);
    const version = (before?.version ?? 0) + 1;
    const startedAt = performance.now();
    tags.set(key, { content: null, startedAt, endedAt: Infinity, version, isWriting: true });
    const content = await act();
    tags.set(key, { content, startedAt, endedAt: performance.now(), version, isWriting: false });
  };

  /** One step of a writer, which has tags of its own. */
  const step = async (writer: number): Promise<void> => {
    const repository = random() < 0.35 ? pick(retiringRepositories) : pick(keepingRepositories);
    const isRetiring = retiringRepositories.includes(repository);
    const tag = `w${writer}-${Math.floor(random() * (isRetiring ? retiringTags : keepingTags))}`;
    const key = `${repository}:${tag}`;
    const known = tags.get(key);
    const kind = random();
    if (kind < 0.1 && known?.content) {
      counts.deletes += 1;
      await write(key, async () => {
        const { status } = await ask('DELETE', `/v2/${repository}/manifests/${tag}`);
        if (status !== 202 && !(status === 404 && (isRetiring || mayBreak)))
          lose(`DELETE of ${key} answered ${status}`);
        return null;
      });
      return;
    }
    if (kind < 0.35 && known?.content?.below.length === 0) {
      // The same manifest under another tag, as `docker tag` and `docker push` do: its blobs are there already.
      const { content } = known;
      const twin = `w${writer}-twin${Math.floor(random() * twins)}`;
      await write(`${repository}:${twin}`, async () => {
        const answer = await push.putManifest(repository, twin, content.root);
        if (answer.status === 201) {
          counts.pushes += 1;
          counts.moves += 1;
          return content;
        }
        if (!isRetiring) lose(`${key} could not be tagged ${twin}: ${describeAnswer(answer)}`);
        await ask('DELETE', `/v2/${repository}/manifests/${twin}`);
        return null;
      });
      return;
    }
    await write(key, async () => {
      if (kind > 0.92) return push.pushIndex(repository, tag);
      if (kind > 0.86) return push.pushSigned(repository, tag);
      return push.pushImage(repository, tag);
    });
    counts.pushes += 1;
  };

  const pullTag = async (key: string, { content }: TagState): Promise<string | null> => {
    const [repository = '', tag = ''] = key.split(':');
    return content === null ? null : pullContent(ask, repository, tag, content);
  };

  const read = async (): Promise<void> => {
    if (counts.pulls * pushesPerPull > counts.pushes) return pause(20);
    const key = pick([...tags.keys()]);
    const before = tags.get(key);
    if (before === undefined || before.isWriting || isRetiringKey(key)) return;
    counts.pulls += 1;
    const fault = await pullTag(key, before);
    if (fault !== null && tags.get(key)?.version === before.version) lose(fault);
  };

  const checkTag = async (key: string, state: TagState): Promise<void> => {
    const fault = await pullTag(key, state);
    const isRetired = isRetiringKey(key) && mayBeRetired(tags, key, state);
    if (fault !== null && !(isRetired && fault.endsWith(' answered 404'))) lose(`afterwards: ${fault}`);
    if (state.content !== null || state.isWriting) return;
    const [repository = '', tag = ''] = key.split(':');
    const { status } = await ask('GET', `/v2/${repository}/manifests/${tag}`, accepting);
    if (status !== 404) lose(`afterwards: ${key} was deleted, and answers ${status}`);
  };

  return {
    counts,
    losses,
    run: async ({ writers, readers, isEnough }) => {
      let isOver = false;
      const repeat = async (act: () => Promise<void>) => {
        while (!isOver) {
          await act();
          await pause(restMs * random()); // at least the event loop's next turn: a step may have found nothing to do
        }
      };
      const ask = async () => {
        while (!isOver && !(await isEnough())) await pause(200);
      };
      const working = [
        ...Array.from({ length: writers }, (_, writer) => repeat(() => step(writer))),
        ...Array.from({ length: readers }, () => repeat(read)),
        ask().finally(() => (isOver = true)),
      ];
      await Promise.all(working).finally(() => (isOver = true));
      await Promise.allSettled(working);
    },
    ease: (maxMs) => {
      restMs = Math.min(maxMs, restMs + restStepMs);
    },
    hurry: () => {
      restMs = Math.max(0, restMs - restStepMs);
    },
    check: async () => {
      const left = [...tags];
      const work = async () => {
        for (let next; (next = left.pop()) !== undefined;) await checkTag(...next);
      };
      await Promise.all(Array.from({ length: checkedAtOnce }, work));
    },
    reachable: async () => {
      const digests = new Set<string>();
      for (const [key, { content }] of tags) {
        if (content === null) continue;
        const [repository = '', tag = ''] = key.split(':');
        const { status } = await ask('HEAD', `/v2/${repository}/manifests/${tag}`, accepting);
        if (status !== 200) continue;
        for (const manifest of [content.root, ...content.below]) {
          digests.add(manifest.digest);
          for (const { digest } of blobsOf(manifest)) digests.add(digest);
        }
      }
      return digests;
    },
  };
}

/** Whether enough tags of the repository may have been pushed after this one. */
function mayBeRetired(tags: ReadonlyMap<string, TagState>, key: string, state: TagState): boolean {
  const others = [...tags].filter(
    ([other, { endedAt }]) =>
      other !== key && repositoryOf(other) === repositoryOf(key) && endedAt > state.startedAt,
  );
  return others.length >= newest;
}

const repositoryOf = (key: string) => key.slice(0, key.indexOf(':'));
const isRetiringKey = (key: string) => retiringRepositories.includes(repositoryOf(key));
