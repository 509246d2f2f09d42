import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { CleanState } from '../../admin/server-status.ts';
import { openDoorConnection, type DoorConnection } from '../../clean/channel/door-connection.ts';
import type { CleanStatusNumbers, DoorAsk, Hello } from '../../clean/channel/messages.ts';
import { isCleaned } from '../../config/schema/is-cleaned.ts';
import type { Config } from '../../config/schema/schema.ts';
import { version } from '../../config/version.ts';
import {
  createCleanAnswers,
  type CleanAnswers,
  type CleanAnswersOptions,
  type CleanParts,
} from './clean-answers.ts';

/** This front door as the cleaner's partner. */
export type CleanDoor = {
  /** Tells the cleaner, if there is one, that this front door is about to serve. Resolves when it knows, or soon. */
  announce(config: Config): Promise<void>;
  /** Call it when this front door serves. */
  serve(parts: CleanParts): void;
  /** Connects to the cleaner while the configuration says that there may be one. */
  use(config: Config): void;
  state(): CleanState;
  /** Signs off. Call it when nobody is served any more. */
  close(): Promise<void>;
};

export type CleanDoorOptions = Pick<CleanAnswersOptions, 'usage' | 'logger'>;

export function createCleanDoor(options: CleanDoorOptions): CleanDoor {
  const { logger } = options;
  const id = randomBytes(12).toString('hex');
  let config: Config | null = null;
  let connection: DoorConnection | null = null;
  let told: CleanStatusNumbers | null = null;
  /** Null: this front door does not serve yet. */
  let answers: CleanAnswers | null = null;

  const hello = (): Hello => ({
    kind: 'hello',
    door: { id, pid: process.pid, host: hostname(), version },
    serves: answers !== null,
    graceMs: config?.clean.grace ?? 0,
  });
  const answer = async (ask: DoorAsk): Promise<unknown> => {
    if (ask.kind === 'status') {
      told = ask.status;
      return null;
    }
    if (answers === null) throw new Error('it does not serve yet');
    return answers.answer(ask);
  };
  const open = (path: string): DoorConnection =>
    openDoorConnection({
      ...{ path, hello, answer, logger },
      onGone: () => void answers?.releaseLocks(),
      // Pauses of a cleaner that died end by themselves, once its collector has ended.
      onAbsent: () => answers?.endStart(),
    });
  const close = async (): Promise<void> => {
    const closing = connection;
    connection = null;
    await answers?.releaseLocks();
    await closing?.close();
  };
  const use = (next: Config): void => {
    const before = config;
    config = next;
    if (!isCleaned(next)) void close();
    else if (connection === null) connection = open(next.clean.socket);
    // The hello says another grace; another storage has another record of what was taken.
    else if (before?.clean.grace !== next.clean.grace || before.upstream.storage !== next.upstream.storage)
      connection.renew();
  };

  return {
    announce: async (initial) => {
      use(initial);
      await connection?.untilNoted();
    },
    serve: (parts) => {
      answers = createCleanAnswers({
        ...{ ...options, ...parts },
        upstream: () => config?.upstream.url ?? '',
        silentMs: () => connection?.silentMs() ?? Infinity,
      });
      parts.processes.onJoin(() => connection?.renew());
      connection?.serves();
    },
    use,
    state: () => (connection === null ? null : { isConnected: connection.isConnected(), told }),
    close,
  };
}
