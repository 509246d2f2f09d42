import type {
  InventoryTag,
  RepositoryListPage,
  RepositoryListQuestion,
  RepositoryLists,
  TagQuestion,
} from '../inventory/repository-lists.ts';

/** From a worker to the primary process; answered with `inventory-answer` of the same number. */
export type InventoryAsk = { readonly kind: 'inventory-ask'; readonly number: number } & (
  | { readonly of: 'list'; readonly question: RepositoryListQuestion }
  | { readonly of: 'tags'; readonly question: TagQuestion }
);

export type InventoryAnswer = {
  readonly kind: 'inventory-answer';
  readonly number: number;
  readonly found: RepositoryListPage | readonly InventoryTag[] | null;
};

/** A worker's way to the lists, which the primary process has. */
export type InventoryChannel = {
  readonly lists: RepositoryLists;
  receive(answer: InventoryAnswer): void;
};

/** A page that takes longer is shown without them. */
const limitMs = 5000;
const maxQuestions = 100;

/** @param send sends to the primary process */
export function createInventoryChannel(send: (ask: InventoryAsk) => void): InventoryChannel {
  const waiting = new Map<number, (found: InventoryAnswer['found']) => void>();
  let lastNumber = 0;

  const ask = (question: Pick<InventoryAsk, 'of' | 'question'>): Promise<InventoryAnswer['found']> => {
    if (waiting.size >= maxQuestions) return Promise.resolve(null);
    return new Promise((resolve) => {
      const number = ++lastNumber;
      const settle = (found: InventoryAnswer['found']) => {
        clearTimeout(timer);
        waiting.delete(number);
        resolve(found);
      };
      const timer = setTimeout(() => settle(null), limitMs).unref();
      waiting.set(number, settle);
      send({ kind: 'inventory-ask', number, ...question } as InventoryAsk);
    });
  };
  return {
    lists: {
      list: (question) => ask({ of: 'list', question }) as Promise<RepositoryListPage | null>,
      tags: (question) => ask({ of: 'tags', question }) as Promise<readonly InventoryTag[] | null>,
    },
    receive: ({ number, found }) => waiting.get(number)?.(found),
  };
}

/** Answers a worker. */
export async function answerInventory(
  lists: RepositoryLists | null,
  ask: InventoryAsk,
): Promise<InventoryAnswer> {
  const found = ask.of === 'list' ? await lists?.list(ask.question) : await lists?.tags(ask.question);
  return { kind: 'inventory-answer', number: ask.number, found: found ?? null };
}
