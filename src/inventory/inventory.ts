import { counter, gauge, type MetricFamily } from '../telemetry/metrics/metric-family.ts';
import type { InventoryCall, InventoryPolicy, InventoryReplies } from './inventory-desk.ts';
import type { InventoryFill } from './inventory-tables.ts';
import { startImporter, type ImporterOptions } from './importer.ts';
import type { RepositoryLists } from './repository-lists.ts';

/** Asks the thread of the record. @throws Error when the record is not open */
export type CallInventory = <Call extends InventoryCall>(
  call: Call,
) => Promise<InventoryReplies[Call['ask']]>;

/** The lists of repositories and tags, in the process that has the record. */
export type Inventory = {
  readonly lists: RepositoryLists;
  /** From now on lists show what this policy lets one pull. */
  use(policy: InventoryPolicy): void;
  /** Call it when there is something that reads the registries. */
  start(read: ImporterOptions['read']): void;
  families(): MetricFamily[];
  close(): Promise<void>;
};

export type InventoryOptions = Omit<ImporterOptions, 'tables' | 'read'> & { readonly call: CallInventory };

/** Questions beyond it are answered with null: a console that is asked so much must not fill this process. */
const maxQuestions = 100;

export function createInventory({ call, ...options }: InventoryOptions): Inventory {
  let importer: ReturnType<typeof startImporter> | null = null;
  let policy: InventoryPolicy | null = null;
  /** The policy that the thread has; it is told again after a failure. */
  let told: InventoryPolicy | null = null;
  let questions = 0;
  let fill: InventoryFill | null = null;

  const tellPolicy = async (): Promise<void> => {
    if (policy === null || told === policy) return;
    const telling = policy;
    told = telling;
    try {
      await call({ ask: 'policy', policy: telling });
    } catch (error) {
      told = null;
      throw error;
    }
  };
  const answer = async <Page>(ask: () => Promise<Page | null>): Promise<Page | null> => {
    if (questions >= maxQuestions) return null;
    questions += 1;
    try {
      await tellPolicy();
      return await ask();
    } catch {
      told = null; // a thread that was started anew knows of none
      return null;
    } finally {
      questions -= 1;
    }
  };
  return {
    lists: {
      list: (question) => answer(() => call({ ask: 'list', question })),
      tags: (question) => answer(() => call({ ask: 'tags', question })),
    },
    use: (next) => {
      policy = next;
      void tellPolicy().catch(() => {});
    },
    start: (read) => {
      const tables = {
        next: async () => {
          fill = await call({ ask: 'fill' });
          return call({ ask: 'next' });
        },
        find: async (findings: Parameters<ImporterOptions['tables']['find']>[0]) => {
          await call({ ask: 'find', findings });
        },
      };
      importer ??= startImporter({ ...options, tables, read });
    },
    families: () => {
      const { reads = 0, failures = 0 } = importer?.counts ?? {};
      const importedAt = (fill?.walkedMs ?? 0) / 1000;
      return [
        gauge(
          'tidegate_inventory_rows',
          'Repositories and tags in the lists of the console.',
          'sum',
          fill?.rows ?? 0,
        ),
        gauge('tidegate_inventory_bytes', 'Size of these lists on disk.', 'sum', fill?.bytes ?? 0),
        gauge(
          'tidegate_inventory_imported_timestamp_seconds',
          'When the repositories of all registries were last listed to the end; 0: not yet.',
          'min',
          importedAt,
        ),
        counter('tidegate_inventory_reads_total', 'Requests to registries for these lists.', reads),
        counter('tidegate_inventory_failures_total', 'Requests of these that gave nothing.', failures),
      ];
    },
    close: async () => {
      await importer?.close();
    },
  };
}
