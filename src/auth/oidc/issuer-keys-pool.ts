import { createIssuerKeys, type IssuerKeys, type IssuerKeysOptions } from './issuer-keys.ts';

/** Keys of issuers that outlive a reload: an issuer may be unreachable just then. */
export type IssuerKeysPool = {
  /** Opens the keys of an issuer, or shares them, and starts to fetch them. */
  open(source: PooledSource): PooledKeys;
  close(): void;
};

export type PooledSource = Omit<IssuerKeysOptions, 'logger' | 'now'>;
export type PooledKeys = Pick<IssuerKeys, 'find' | 'generation'> & {
  /** Call once. Closes the keys if nobody shares them. */
  release(): void;
};

export function createIssuerKeysPool(options: Pick<IssuerKeysOptions, 'logger' | 'now'>): IssuerKeysPool {
  const opened = new Map<string, { readonly keys: IssuerKeys; holders: number }>();
  return {
    open: (source) => {
      const { name, issuer, jwks, ca, timeoutMs, maxBytes } = source;
      const id = JSON.stringify([name, issuer, jwks, ca, timeoutMs, maxBytes]);
      const entry = opened.get(id) ?? { keys: createIssuerKeys({ ...source, ...options }), holders: 0 };
      opened.set(id, entry);
      entry.holders += 1;
      void entry.keys.prefetch();
      return {
        find: (kid) => entry.keys.find(kid),
        generation: () => entry.keys.generation(),
        release: () => {
          entry.holders -= 1;
          if (entry.holders > 0) return;
          opened.delete(id);
          entry.keys.close();
        },
      };
    },
    close: () => {
      for (const { keys } of opened.values()) keys.close();
    },
  };
}
