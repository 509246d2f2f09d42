import type { CleanTask, PerformCleanTask } from '../../app/clean-worker.ts';
import type { CleanReply, CleanRequest } from './clean-processes.ts';

/** A worker's side of what the clean-up has it do. */
export type CleanTasks = {
  /** Call it with each message of these kinds. */
  receive(message: CleanRequest): void;
};

/** @param send sends to the primary process */
export function createCleanTasks(send: (reply: CleanReply) => void, perform: PerformCleanTask): CleanTasks {
  const underWay = new Map<number, AbortController>();

  const act = async (number: number, task: CleanTask): Promise<void> => {
    const stopping = new AbortController();
    underWay.set(number, stopping);
    try {
      const result = await perform(task, stopping.signal);
      send({ kind: 'clean-answer', number, result, error: null });
    } catch (error) {
      send({ kind: 'clean-answer', number, result: null, error: (error as Error).message });
    } finally {
      underWay.delete(number);
    }
  };

  return {
    receive: (message) => {
      if (message.kind === 'clean-ask') void act(message.number, message.task);
      else underWay.get(message.number)?.abort();
    },
  };
}
