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
      if (configPath !== null && merged.changed.length + merged.needRestart.length > 0)
        checkNotLost(configPath, loaded);
      triedPaths = listFiles(loaded.configPath, merged.config);
      const next = await loadFilesOf(merged, inEffect);
      const changed = [...next.changed];
      if (rereads || changed.length > 0) {
        const prepared = await serving.prepare(next.state, { rereads });
        for (const warning of next.warnings) logger.warn(warning);
        await prepared.commit();
        changed.push(...prepared.changed);
        inEffect = next.state;
      }
      effectivePaths = triedPaths;
      return { ok: true, changed: inOrder(changed), needRestart: next.needRestart };
    } catch (error) {
      if (!(error instanceof OperatorError)) logger.error({ err: error }, 'a reload failed');
      return { ok: false, sentence: describeFailure(error as Error) };
    }
  };

  const enqueue = createQueue();
  const logDone = (trigger: Trigger, outcome: Extract<ReloadOutcome, { ok: true }>) => {
    const { changed } = outcome;
    ({ needRestart } = outcome);
    logger.info({ trigger, changed, needRestart }, 'reloaded');
    onReload('done');
  };
  const logRefused = (trigger: Trigger, sentence: string) => {
    const reason = sentence.replaceAll('\n', '; ');
    logger.error(
      { trigger },
      `The reload is refused, and the previous configuration stays in effect: ${reason}`,
    );
    onReload('refused');
  };

  /** Asked for, and not begun. */
  let awaited: Promise<ReloadOutcome> | undefined;
  // Who asks before it begins is served by it: else those who ask faster than it is done would keep all others, and the watch, waiting.
  const reload = () =>
    (awaited ??= enqueue(async () => {
      awaited = undefined;
      const outcome = await attempt(true);
      if (outcome.ok) logDone('request', outcome);
      else logRefused('request', outcome.sentence);
      return outcome;
    }));

  const listWatched = () => [...new Set([...effectivePaths, ...triedPaths])];
  const patience = createPatience();
  const watch = watchFiles({
    paths: listWatched,
    actedOn: undefined, // looked at once more: they may have changed since they were read
    act: (signature) =>
      enqueue(async () => {
        const outcome = await attempt(false);
        if (!outcome.ok) {
          const verdict = patience.failed(outcome.sentence);
          if (verdict === 'wait') return undefined;
          if (verdict === 'refuse' && !closed) logRefused('files', outcome.sentence);
          return signature;
        }
        const isNews = outcome.changed.length > 0 || !sameKeys(outcome.needRestart, needRestart);
        const wasRefused = patience.succeeded();
        if (isNews) logDone('files', outcome);
        else if (wasRefused) logger.info('The files match what is in effect again.');
        const after = await readStatuses(listWatched());
        return after === null || after.isRecent || after.signature !== signature ? undefined : signature;
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

/** Runs one at a time: what is asked for meanwhile begins when the one under way is over. None may reject. */
function createQueue() {
  let last: Promise<unknown> = Promise.resolve();
  return <T>(act: () => Promise<T>): Promise<T> => {
    const done = last.then(act);
    last = done;
    return done;
  };
}

function describeFailure(error: Error): string {
  return error instanceof OperatorError ? error.message : `The reload failed: ${error.message}.`;
}

/** Decides when files that cannot be used are refused, and that each reason is said once. */
function createPatience() {
  let failingSinceMs: number | undefined;
  let saidSentence: string | undefined;
  return {
    failed: (sentence: string): 'wait' | 'refuse' | 'said' => {
      const nowMs = performance.now();
      failingSinceMs ??= nowMs;
      if (nowMs - failingSinceMs < patienceMs) return 'wait';
      const isNews = sentence !== saidSentence;
      saidSentence = sentence;
      return isNews ? 'refuse' : 'said';
    },
    /** Gives whether something has been refused since the last success. */
    succeeded: (): boolean => {
      const wasRefused = saidSentence !== undefined;
      failingSinceMs = undefined;
      saidSentence = undefined;
      return wasRefused;
    },
  };
}

/** Without what the file said, everything would be as by default: other doors open, and another upstream. @throws OperatorError */
function checkNotLost(path: string, loaded: Pick<LoadedConfig, 'configPath' | 'isEmpty'>): void {
  const lost = loaded.configPath === null ? 'is gone' : loaded.isEmpty ? 'is empty' : null;
  if (lost !== null)
    throw new OperatorError(
      `The configuration file ${path} ${lost}: restore it, or restart where the defaults are meant.`,
    );
}

/** Loads the files that the next configuration names, and compares it with what is in effect. @throws OperatorError for a file that cannot be used */
async function loadFilesOf(merged: ReturnType<typeof mergeReloaded>, inEffect: ServedState) {
  const { config } = merged;
  const { pem: found, warnings } = await loadPemFiles(config, new Date());
  // Connections to Redis outlive a reload, and those of a worker that is replaced are to be as the others'.
  const pem = { ...found, redisCa: inEffect.pem.redisCa };
  return {
    state: { config, pem },
    warnings,
    changed: [...merged.changed, ...listChangedPem(inEffect.pem, pem)],
    needRestart: inOrder([
      ...merged.needRestart,
      ...(found.redisCa === pem.redisCa ? [] : ['cache.redis.ca']),
    ]),
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
