import { Worker } from 'node:worker_threads';
import type { InventoryCall, InventoryReplies } from '../inventory/inventory-desk.ts';
import type { UsageBatch } from './usage-buffer.ts';
import type { UsageFill } from './usage-writer.ts';
import type { UsageAnswer, UsageQuestion } from './usage-question.ts';
import type { OpenedRecord, OpenOptions, ThreadCall, ThreadReply } from './usage-thread.ts';

/** The record on disk, read and written on a thread of its own. All members reject with what went wrong. */
export type UsageStore = {
  open(options: OpenOptions): Promise<OpenedRecord>;
  /** `begun`: the record had to be begun anew. */
  write(
    batch: UsageBatch,
    addresses: ReadonlyMap<string, number>,
    lostMs: number | null,
  ): Promise<{ readonly fill: UsageFill; readonly since: number; readonly begun: OpenedRecord | null }>;
  read(question: UsageQuestion): Promise<readonly UsageAnswer[]>;
  inventory<Call extends InventoryCall>(
    call: Call,
  ): Promise<{ readonly reply: InventoryReplies[Call['ask']]; readonly begun: OpenedRecord | null }>;
  /** Whether its thread lives; without one nothing is open. */
  isRunning(): boolean;
  /** Closes the file and ends the thread. */
  close(): Promise<void>;
};

/** Creates the store; its thread starts with the first open. It never keeps the process alive. */
export function createUsageStore(): UsageStore {
  let thread: Worker | undefined;
  const waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];

  const start = (): Worker => {
    const started = new Worker(new URL('./usage-thread.js', import.meta.url), { name: 'usage' });
    started.unref();
    const end = (error: Error) => {
      if (thread !== started) return;
      thread = undefined;
      for (const { reject } of waiting.splice(0)) reject(error);
    };
    // Calls are answered in their order.
    started.on('message', (reply: ThreadReply) => {
      const call = waiting.shift();
      if ('failure' in reply) call?.reject(new Error(reply.failure));
      else call?.resolve(reply.value);
      if (waiting.length === 0) started.unref();
    });
    started.on('error', end);
    started.on('exit', (code) => end(new Error(`the thread of the usage record ended with ${code}`)));
    return started;
  };
  const call = (request: ThreadCall): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (thread === undefined) {
        reject(new Error('the record is not open'));
        return;
      }
      waiting.push({ resolve, reject });
      thread.ref();
      thread.postMessage(request);
    });

  return {
    open: (options) => {
      thread ??= start();
      return call({ act: 'open', ...options }) as Promise<OpenedRecord>;
    },
    write: (batch, addresses, lostMs) =>
      call({ act: 'write', batch, addresses, lostMs }) as ReturnType<UsageStore['write']>,
    isRunning: () => thread !== undefined,
    read: (question) => call({ act: 'read', question }) as Promise<readonly UsageAnswer[]>,
    inventory: <Call extends InventoryCall>(asked: Call) =>
      call({ act: 'inventory', call: asked }) as Promise<{
        reply: InventoryReplies[Call['ask']];
        begun: OpenedRecord | null;
      }>,
    close: async () => {
      const ending = thread;
      if (ending === undefined) return;
      await call({ act: 'close' });
      thread = undefined;
      await ending.terminate();
    },
  };
}
