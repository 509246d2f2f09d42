import type { Logger } from 'pino';
import type { ServedState } from '../app/served-state.ts';
import type { LoadedConfig } from '../config/load/load.ts';
import { configKeys } from '../config/schema/key-list.ts';
import { findRouteFaults } from '../config/schema/keys/route-keys.ts';
import { mergeReloaded } from '../config/schema/restart-keys.ts';
import { readStatuses } from '../system/files/file-status.ts';
import { watchFiles } from '../system/files/file-watch.ts';
import { OperatorError } from '../system/operator-error.ts';
import { listPemFiles, loadPemFiles, type PemFiles } from '../app/pem-files.ts';
import type { ReloadOutcome } from '../admin/admin.ts';
import type { Serving } from './serving.ts';

/** Keeps the state in effect equal to the files. */
export type Reloader = {
  /** The state in effect. */
  state(): ServedState;
  /** Reloads everything at once; never rejects. A call while another is waiting to begin joins that one. */
  reload(): Promise<ReloadOutcome>;
  /** Stops reloading. */
  close(): void;
};

export type ReloaderOptions = {
  /** The initial state. */
  readonly initial: ServedState;
  /** The file that it came from; null for none. */
  readonly configPath: string | null;
  /** Loads the configuration as at the start. @throws OperatorError when it is not valid. */
  readonly load: () => Promise<Pick<LoadedConfig, 'config' | 'configPath' | 'isEmpty'>>;
  readonly serving: Pick<Serving, 'prepare'>;
  /** Called after each logged reload, when `state` is up to date. */
  readonly onReload: (result: 'done' | 'refused', trigger: Trigger) => void;
  readonly logger: Logger;
};

/** The cause of a reload: a signal or command, or changed files. */
type Trigger = 'request' | 'files';

/**
 * How long files that do not match count as half replaced, in milliseconds: a certificate and its key are replaced one
 * after the other.
 */
const patienceMs = 3000;

/**
 * Follows the files of the configuration, the certificate and the CAs, and applies changes: all, or, if anything is not
 * valid, none.
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
  /** The files in effect, and those tried last, which may have been the invalid ones. */
  let effectivePaths = listFiles(configPath, initial.config);
  let triedPaths = effectivePaths;
  let closed = false;

  /** @param rereads whether to reread the htpasswd file too, and apply everything even if nothing has changed */
  const attempt = async (rereads: boolean): Promise<ReloadOutcome> => {
    try {
      if (closed) throw new OperatorError('Tidegate is shutting down.');
      const loaded = await load();
      const merged = mergeReloaded(inEffect.config, loaded.config);
      if (configPath !== null && merged.changed.length + merged.needRestart.length > 0)
        checkNotLost(configPath, loaded);
      checkMerged(merged);
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
  const log = createReloadLog(logger, onReload);

  /** Requested, and not begun. */
  let awaited: Promise<ReloadOutcome> | undefined;
  // Requests before it begins share it. Otherwise frequent requests would keep all others, and changed files, waiting.
  const reload = () =>
    (awaited ??= enqueue(async () => {
      awaited = undefined;
      const outcome = await attempt(true);
      if (outcome.ok) log.done('request', outcome);
      else log.refused('request', outcome.sentence);
      return outcome;
    }));

  const listWatched = () => [...new Set([...effectivePaths, ...triedPaths])];
  const patience = createPatience();
  const watch = watchFiles({
    paths: listWatched,
    actedOn: undefined, // checked again: they may have changed since they were read
    act: (signature) =>
      enqueue(async () => {
        const outcome = await attempt(false);
        if (!outcome.ok) {
          const verdict = patience.failed(outcome.sentence);
          if (verdict === 'wait') return undefined;
          if (verdict === 'refuse' && !closed) log.refused('files', outcome.sentence);
          return signature;
        }
        const wasRefused = patience.succeeded();
        if (log.isNews(outcome)) log.done('files', outcome);
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

/** Runs actions one at a time, in order. None may reject. */
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

type Done = Extract<ReloadOutcome, { ok: true }>;

/** Logs and counts what reloads come to. */
function createReloadLog(logger: Logger, onReload: ReloaderOptions['onReload']) {
  let needRestart: readonly string[] = [];
  return {
    done: (trigger: Trigger, outcome: Done) => {
      const { changed } = outcome;
      ({ needRestart } = outcome);
      logger.info({ trigger, changed, needRestart }, 'reloaded');
      onReload('done', trigger);
    },
    refused: (trigger: Trigger, sentence: string) => {
      const reason = sentence.replaceAll('\n', '; ');
      logger.error(
        { trigger },
        `The reload is refused, and the previous configuration stays in effect: ${reason}`,
      );
      onReload('refused', trigger);
    },
    /** Whether it tells more than the last one that was done. */
    isNews: ({ changed, needRestart: needed }: Done) => changed.length > 0 || !sameKeys(needed, needRestart),
  };
}

/** Decides when unusable files are refused, so that each reason is logged once. */
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
    /** Returns whether something has been refused since the last success. */
    succeeded: (): boolean => {
      const wasRefused = saidSentence !== undefined;
      failingSinceMs = undefined;
      saidSentence = undefined;
      return wasRefused;
    },
  };
}

/**
 * Refuses a configuration without its file: all defaults would apply, with other open paths and another upstream.
 * @throws OperatorError
 */
function checkNotLost(path: string, loaded: Pick<LoadedConfig, 'configPath' | 'isEmpty'>): void {
  const lost = loaded.configPath === null ? 'is gone' : loaded.isEmpty ? 'is empty' : null;
  if (lost !== null)
    throw new OperatorError(
      `The configuration file ${path} ${lost}: restore it, or restart where the defaults are meant.`,
    );
}

/**
 * Refuses a route to the registry that `upstream` keeps until a restart: it would have two names. @throws OperatorError
 */
function checkMerged({ config, needRestart }: ReturnType<typeof mergeReloaded>): void {
  const [fault] = needRestart.includes('upstream.url') ? findRouteFaults(config) : [];
  if (fault !== undefined)
    throw new OperatorError(
      `A route has the registry that upstream.url keeps until a restart, and one registry cannot have two names here: restart.`,
    );
}

/**
 * Loads the files of the next configuration, and compares it with the one in effect. @throws OperatorError for a file
 * that cannot be used
 */
async function loadFilesOf(merged: ReturnType<typeof mergeReloaded>, inEffect: ServedState) {
  const { config } = merged;
  const { pem: found, warnings } = await loadPemFiles(config, new Date(), inEffect.pem);
  // Connections to Redis outlive a reload, and those of a replaced worker must equal the others'.
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

/** The keys whose files have changed. */
function listChangedPem(before: PemFiles, after: PemFiles): string[] {
  const files = [
    ['tls.cert', before.cert, after.cert],
    ['tls.key', before.key, after.key],
    ['tls.clientCa', before.clientCa, after.clientCa],
    ['upstream.ca', before.upstreamCa, after.upstreamCa],
    ['routes', JSON.stringify(before.routeCas), JSON.stringify(after.routeCas)],
    ['alerts.ca', before.alertsCa, after.alertsCa],
    ['auth.oidc', JSON.stringify(before.issuerCas), JSON.stringify(after.issuerCas)],
    ['auth.tokenKeys', before.tokenSecrets.join('\n'), after.tokenSecrets.join('\n')],
  ] as const;
  return files.flatMap(([key, then, now]) => (then === now ? [] : [key]));
}

/** Without duplicates, in the schema's order. */
function inOrder(keys: readonly string[]): string[] {
  return [...configKeys.keys()].filter((key) => keys.includes(key));
}

function sameKeys(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((key) => other.includes(key));
}
