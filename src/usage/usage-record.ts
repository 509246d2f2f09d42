import type { Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { counter, gauge, type MetricFamily } from '../telemetry/metrics/metric-family.ts';
import type { CallInventory } from '../inventory/inventory.ts';
import type { InventoryCall } from '../inventory/inventory-desk.ts';
import type { InventoryLimits } from '../inventory/inventory-space.ts';
import { createDayAddresses } from './day-addresses.ts';
import { createUsageBuffer, type UsageBatch, type UsageSink } from './usage-buffer.ts';
import type { UsageFill, UsageLimits } from './usage-writer.ts';
import { takeUsagePlace, usagePaths, type UsagePlace } from './usage-place.ts';
import { afterPage, type UsageAnswer, type UsageQuestion } from './usage-question.ts';
import { answerQuestions, type UsageTimes } from './usage-server.ts';
import { createUsageStore } from './usage-store.ts';
import type { OpenedRecord } from './usage-thread.ts';

/** The record of what was pulled and pushed when, and by whom. The process that looks after the workers has it. */
export type UsageRecord = UsageSink & {
  /** Reads a page; `next` asks for the one after it, null: there is none. Everything noted so far is in it. */
  page(question: UsageQuestion): Promise<UsagePage>;
  /** Asks about the inventory in the same file. @throws Error when the record is not open */
  readonly callInventory: CallInventory;
  families(): MetricFamily[];
  /** Writes what has not been written yet. */
  close(): Promise<void>;
};

export type UsagePage = UsageTimes & {
  readonly rows: readonly UsageAnswer[];
  readonly next: UsageQuestion | null;
};

export type UsageRecordOptions = {
  readonly stateDir: string;
  readonly limits: UsageLimits;
  /** Null: the inventory is not kept. */
  readonly inventory: InventoryLimits | null;
  readonly logger: Record<'info' | 'warn', (fields: object, message: string) => void>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

const writeEveryMs = 2000;
/** After a failure it waits longer each time, up to a minute. */
const retryMs = { first: 5000, most: 60_000 };
/** After so many failures the file is opened anew. */
const reopenAfter = 3;
/** How long the end of the process waits for the last write. */
const closeLimitMs = 3000;
/** What waits to be written: some 100,000 different uses fit. */
const bufferLimits = { maxEntries: 100_000, maxBytes: 64 * 1024 * 1024 };
const batchEntries = 5000;

/** Opens the record. When its folder cannot be used, that is logged once and tried again: serving does not depend on it. */
export async function openUsageRecord(options: UsageRecordOptions): Promise<UsageRecord> {
  const { stateDir, limits, inventory, logger, now } = options;
  const paths = usagePaths(stateDir);
  const buffer = createUsageBuffer(bufferLimits);
  const dayAddresses = createDayAddresses(now);
  const store = createUsageStore();
  const sockets = new Set<Socket>();
  /** From then on nothing has been lost. */
  let wholeSinceMs = now();
  /** When uses were lost, and the file does not say so yet. */
  let lostMs: number | null = null;
  let place: UsagePlace | null = null;
  let opened: OpenedRecord | null = null;
  let fill: UsageFill | null = null;
  let since: number | null = null;
  let trouble: string | null = null;
  let failures = 0;
  let errors = 0;
  let dropped = 0;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  let isClosed = false;

  const failed = (error: unknown): void => {
    const reason = error instanceof Error ? error.message : String(error);
    errors += 1;
    failures += 1;
    if (trouble === null)
      logger.warn({ folder: paths.folder }, `What is pulled and pushed cannot be recorded now: ${reason}`);
    trouble = reason;
  };
  const succeeded = (): void => {
    failures = 0;
    if (trouble !== null)
      logger.info({ folder: paths.folder }, 'what is pulled and pushed is recorded again');
    trouble = null;
  };
  const use = (record: OpenedRecord): void => {
    opened = record;
    ({ fill, since } = record);
    if (record.setAside !== null)
      logger.warn(
        { setAside: record.setAside.path, reason: record.setAside.reason },
        'the record of pulls and pushes was damaged: it was set aside, and begins anew',
      );
  };

  const takePlace = async (): Promise<void> => {
    if (place !== null && (await place.isOurs())) return;
    if (opened !== null) {
      await store.close();
      wholeSinceMs = now(); // what was written is gone, or another's
    }
    opened = null;
    await place?.close();
    place = null;
    place = await takeUsagePlace(stateDir, (socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      answerQuestions(socket, { about, read });
    });
  };
  const ensureOpen = async (): Promise<void> => {
    await takePlace();
    // The lock of the file is left over if there is one: whoever had it open listened in the folder.
    if (opened === null)
      use(await store.open({ path: paths.file, breaksLock: true, limits, inventory, sinceMs: wholeSinceMs }));
  };
  const writeAll = async (): Promise<void> => {
    for (let batch = buffer.take(batchEntries); batch !== null; batch = buffer.take(batchEntries)) {
      dropped += batch.dropped;
      if (batch.dropped > 0) lostMs = wholeSinceMs = now();
      try {
        await ensureOpen();
        const written = await store.write(batch, dayAddresses.count(batch.users), lostMs);
        lostMs = null;
        if (written.begun !== null) use(written.begun);
        ({ fill, since } = written);
        succeeded();
      } catch (error) {
        buffer.addBatch({ ...batch, dropped: 0 });
        failed(error);
        if (failures >= reopenAfter || !store.isRunning()) opened = null;
        return;
      }
    }
  };
  /** One write after the other. */
  const flush = (): Promise<void> => (running = running.then(writeAll));
  const schedule = (): void => {
    if (isClosed) return;
    const waitMs =
      failures === 0 ? writeEveryMs : Math.min(retryMs.first * 2 ** (failures - 1), retryMs.most);
    timer ??= setTimeout(() => {
      timer = undefined;
      void flush().then(() => {
        if (failures > 0) schedule();
      });
    }, waitMs).unref();
  };

  /** What comes before the rows of an answer. Everything noted so far is in them. */
  const about = async () => {
    await flush();
    await ensureOpen();
    return { asOf: now(), since: since ?? now() };
  };
  const read = async function* (question: UsageQuestion) {
    for (let next: UsageQuestion | null = question; next !== null;) {
      const page = await store.read(next);
      yield page;
      next = afterPage(next, page);
    }
  };

  /** What concerns the file is done one after the other. */
  const inTurn = <Result>(act: () => Promise<Result>): Promise<Result> => {
    const acting = running.then(act);
    running = acting.then(
      () => {},
      () => {},
    );
    return acting;
  };
  const callInventory: CallInventory = async <Call extends InventoryCall>(call: Call) => {
    if (isClosed) throw new Error('the record is closed');
    if (opened === null || !store.isRunning()) {
      opened = null;
      await inTurn(async () => {
        try {
          await ensureOpen();
        } catch (error) {
          failed(error);
          schedule();
          throw error;
        }
      });
    }
    const { reply, begun } = await store.inventory(call);
    if (begun !== null) use(begun);
    return reply;
  };

  const readOnePage = async (question: UsageQuestion): Promise<UsagePage> => {
    const times = await about();
    const rows = await store.read(question);
    return { ...times, rows, next: afterPage(question, rows) };
  };

  await takePlace().catch(failed);
  if (failures > 0) schedule();
  return {
    add: (batch: UsageBatch) => {
      buffer.addBatch(batch);
      dayAddresses.add(batch.users);
      schedule();
      return Promise.resolve();
    },
    page: readOnePage,
    callInventory,
    families: () => [
      gauge(
        'tidegate_usage_recording',
        'Whether pulls and pushes are recorded: 1, or 0 when the record cannot be written.',
        'min',
        trouble === null ? 1 : 0,
      ),
      gauge('tidegate_usage_rows', 'Rows of the record of pulls and pushes.', 'sum', fill?.rows ?? 0),
      gauge('tidegate_usage_bytes', 'Size of the record of pulls and pushes.', 'sum', fill?.bytes ?? 0),
      counter('tidegate_usage_dropped_total', 'Pulls and pushes that could not be recorded.', dropped),
      counter('tidegate_usage_errors_total', 'Writes of the record that failed.', errors),
    ],
    close: async () => {
      isClosed = true;
      clearTimeout(timer);
      await Promise.race([flush(), wait(closeLimitMs, undefined, { ref: false })]);
      for (const socket of sockets) socket.destroy();
      await Promise.race([store.close().catch(() => {}), wait(closeLimitMs, undefined, { ref: false })]);
      await place?.close();
    },
  };
}
