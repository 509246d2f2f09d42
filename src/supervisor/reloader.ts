import type { Logger } from 'pino';
import type { ServedState } from '../app/served-state.ts';
import type { LoadedConfig } from '../config/load/load.ts';
import { configKeys } from '../config/schema/key-list.ts';
import { mergeReloaded } from '../config/schema/restart-keys.ts';
import { readStatuses } from '../system/file-status.ts';
import { watchFiles } from '../system/file-watch.ts';
import { OperatorError } from '../system/operator-error.ts';
import { listPemFiles, loadPemFiles, type PemFiles } from '../app/pem-files.ts';
import type { ReloadOutcome } from '../admin/admin.ts';
import type { Serving } from './serving.ts';

/** Keeps what is served by as the files say. */
export type Reloader = {
  /** What is served by now. */
  state(): ServedState;
  /** Loads everything anew, at once; never rejects. What is asked for while one is waiting to begin is that one. */
  reload(): Promise<ReloadOutcome>;
  /** Nothing is reloaded any more. */
  close(): void;
};

export type ReloaderOptions = {
  /** What is served by at the beginning. */
  readonly initial: ServedState;
  /** The file that it came from; null for none. */
  readonly configPath: string | null;
  /** Loads the configuration as at the start. @throws OperatorError when it is not valid. */
  readonly load: () => Promise<Pick<LoadedConfig, 'config' | 'configPath' | 'isEmpty'>>;
  readonly serving: Pick<Serving, 'prepare'>;
  /** Called after each reload that the log tells of, when `state` is as it is after it. */
  readonly onReload: (result: 'done' | 'refused') => void;
  readonly logger: Logger;
};

/** What a reload comes from: who asked for it, by signal or command, or the files. */
type Trigger = 'request' | 'files';

/**
 * For how long files that do not fit together are taken for half replaced, in milliseconds: a certificate and its key come one after
 * the other.
 */
const patienceMs = 3000;

/**
 * Follows the files of the configuration, of the certificate and of the CAs, and puts into effect what has changed: all of it, or,
 * where anything is not valid, nothing.
 */
export function createReloader({
  initial,
  configPath,
  load,
  serving,
  onReload,
  logger,
}: ReloaderOptions): Reloader {
  let inEffect = initial;
  let needRestart: readonly string[] = [];
  /** The files of what is in effect, and of what was tried last: they may have been what was wrong with it. */
  let effectivePaths = listFiles(configPath, initial.config);
  let triedPaths = effectivePaths;
  let closed = false;

  /** @param rereads whether the htpasswd file is read anew, too, and everything put in effect though nothing has changed */
  const attempt = async (rereads: boolean): Promise<ReloadOutcome> => {
    try {
      if (closed) throw new OperatorError('Tidegate is shutting down.');
      const loaded = await load();
      const merged = mergeReloaded(inEffect.config, loaded.config);
      const { config } = merged;
      // Without what it said, everything would be as by default: other doors open, and another upstream.
      if (configPath !== null && merged.changed.length + merged.needRestart.length > 0) {
        const lost = loaded.configPath === null ? 'is gone' : loaded.isEmpty ? 'is empty' : null;
        if (lost !== null)
          throw new OperatorError(
            `The configuration file ${configPath} ${lost}: restore it, or restart where the defaults are meant.`,
          );
      }
      triedPaths = listFiles(loaded.configPath, config);
      const { pem: found, warnings } = await loadPemFiles(config, new Date());
      // Connections to Redis outlive a reload, and those of a worker that is replaced are to be as the others'.
      const pem = { ...found, redisCa: inEffect.pem.redisCa };
      const waiting = inOrder([
        ...merged.needRestart,
        ...(found.redisCa === pem.redisCa ? [] : ['cache.redis.ca']),
      ]);
      const changed = [...merged.changed, ...listChangedPem(inEffect.pem, pem)];
      if (rereads || changed.length > 0) {
        const prepared = await serving.prepare({ config, pem }, { rereads });
        for (const warning of warnings) logger.warn(warning);
        await prepared.commit();
        changed.push(...prepared.changed);
        inEffect = { config, pem };
      }
      effectivePaths = triedPaths;
      return { ok: true, changed: inOrder(changed), needRestart: waiting };
    } catch (error) {
      if (error instanceof OperatorError) return { ok: false, sentence: error.message };
      logger.error({ err: error }, 'a reload failed');
      return { ok: false, sentence: `The reload failed: ${(error as Error).message}.` };
    }
  };

  /** One at a time: what is asked for meanwhile begins when the one under way is over. */
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const done = last.then(act);
    last = done;
    return done;
  };

  const logDone = (trigger: Trigger, outcome: Extract<ReloadOutcome, { ok: true }>) => {
    const { changed } = outcome;
    ({ needRestart } = outcome);
    logger.info({ trigger, changed, needRestart }, 'reloaded');
    onReload('done');
  };
  const logRefused = (trigger: Trigger, sentence: string) => {
    const reason = sentence.replaceAll('\n', '; ');
    logger.error({ trigger }, `The reload is refused, and what was in effect serves on: ${reason}`);
    onReload('refused');
  };

  /** Asked for, and not begun. */
  let awaited: Promise<ReloadOutcome> | undefined;
  // Who asks before it begins is served by it: else those who ask faster than it is done would keep all others, and the watch, waiting.
  const reload = () =>
    (awaited ??= inTurn(async () => {
      awaited = undefined;
      const outcome = await attempt(true);
      if (outcome.ok) logDone('request', outcome);
      else logRefused('request', outcome.sentence);
      return outcome;
    }));

  const watched = () => [...new Set([...effectivePaths, ...triedPaths])];
  let failingSinceMs: number | undefined;
  let saidSentence: string | undefined;
  const watch = watchFiles({
    paths: watched,
    actedOn: undefined, // looked at once more: they may have changed since they were read
    act: (signature) =>
      inTurn(async () => {
        const outcome = await attempt(false);
        const nowMs = performance.now();
        if (outcome.ok) {
          const isNews = outcome.changed.length > 0 || !sameKeys(outcome.needRestart, needRestart);
          if (isNews) logDone('files', outcome);
          else if (saidSentence !== undefined) logger.info('The files are as what is in effect again.');
          failingSinceMs = undefined;
          saidSentence = undefined;
          const after = await readStatuses(watched());
          return after === null || after.isRecent || after.signature !== signature ? undefined : signature;
        }
        failingSinceMs ??= nowMs;
        if (nowMs - failingSinceMs < patienceMs) return undefined;
        if (outcome.sentence !== saidSentence && !closed) logRefused('files', outcome.sentence);
        saidSentence = outcome.sentence;
        return signature;
      }),
  });

  return {
    state: () => inEffect,
    reload,
    close: () => {
      closed = true;
      watch.close();
    },
  };
}

function listFiles(configPath: string | null, config: ServedState['config']): string[] {
  return [...(configPath === null ? [] : [configPath]), ...listPemFiles(config)];
}

/** The keys whose files have other content. */
function listChangedPem(before: PemFiles, after: PemFiles): string[] {
  const files = [
    ['tls.cert', before.cert, after.cert],
    ['tls.key', before.key, after.key],
    ['tls.clientCa', before.clientCa, after.clientCa],
    ['upstream.ca', before.upstreamCa, after.upstreamCa],
    ['alerts.ca', before.alertsCa, after.alertsCa],
    ['auth.tokenKeys', before.tokenSecrets.join('\n'), after.tokenSecrets.join('\n')],
  ] as const;
  return files.flatMap(([key, then, now]) => (then === now ? [] : [key]));
}

/** Each once, in the schema's order. */
function inOrder(keys: readonly string[]): string[] {
  return [...configKeys.keys()].filter((key) => keys.includes(key));
}

function sameKeys(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((key) => other.includes(key));
}
