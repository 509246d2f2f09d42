import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { planJson } from '../../clean/plan/plan-json.ts';
import { planStorage } from '../../clean/plan/plan-storage.ts';
import { openPlanUsage } from '../../clean/plan/plan-usage.ts';
import { renderPlan } from '../../clean/plan/render-plan.ts';
import { cleanFolderName } from '../../clean/quarantine/clean-folder.ts';
import { disk } from '../../clean/quarantine/disk.ts';
import type { LoadedConfig } from '../../config/load/load.ts';
import { parseTagPattern } from '../../policy/tag-pattern.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { openUsageReader } from '../../usage/usage-client.ts';
import { findPlace } from '../policy/policy-warnings.ts';
import { requireStorage } from './cleaner-command.ts';
import { createProgressLine } from './progress-line.ts';

export type PrintOptions = { readonly json: boolean; readonly all: boolean; readonly columns: number };

/**
 * Plans a run without a cleaner, by what lies on disk, and prints it. Changes nothing.
 *
 * @throws OperatorError when it may not be read
 */
export async function planFromFiles(
  loaded: LoadedConfig,
  { json, all, columns }: PrintOptions,
): Promise<{ readonly goes: boolean }> {
  const { clean, state, upstream, immutableTags } = loaded.config;
  const { storage } = upstream;
  requireStorage(loaded.config);
  if (storage === null || clean.collector.length > 0)
    throw new OperatorError(
      `No cleaner listens on ${clean.socket} (clean.socket), and with clean.collector only it can plan: start it with tidegate clean serve.`,
    );
  await checkReadable(storage);
  const line = createProgressLine(process.stderr);
  const reader = state.usage ? await openUsageReader(state.dir) : null;
  // Else the copy of the record would be left.
  const leave = () => process.exit(130);
  process.once('SIGINT', leave).once('SIGTERM', leave);
  try {
    const plan = await planStorage({
      folder: { root: storage, path: join(storage, cleanFolderName), disk },
      settings: {
        clean,
        immutableTags: immutableTags.map(parseTagPattern),
        placeOf: (path) => findPlace(loaded, ['clean.rules', ...path]),
      },
      ...{ doors: null, all, signal: new AbortController().signal, onProgress: line.show },
      notes: [
        `No cleaner listens on ${clean.socket} (clean.socket): this was read from the files alone. What Tidegate answered lately is not known, so a run may leave more.`,
      ],
      usage:
        reader &&
        (await openPlanUsage({
          usage: async function* (question) {
            yield await reader.ask(question);
          },
        })),
    });
    line.clear();
    await print(json ? planJson(plan) : renderPlan(plan, { columns, all, takesFromMs: null }));
    return plan;
  } finally {
    line.clear();
    process.off('SIGINT', leave).off('SIGTERM', leave);
    await reader?.close();
  }
}

async function print(pieces: Iterable<string>): Promise<void> {
  for (const piece of pieces) if (!process.stdout.write(piece)) await once(process.stdout, 'drain');
}

/** @throws OperatorError unless what the registry keeps can be read */
async function checkReadable(root: string): Promise<void> {
  const registry = join(root, 'docker/registry/v2');
  const folders = [root, registry, join(registry, 'repositories'), join(root, cleanFolderName)];
  for (const folder of folders) {
    try {
      await access(folder, constants.R_OK | constants.X_OK);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' && folder !== root) continue; // nothing was pushed, or taken, yet
      throw new OperatorError(await explain(root, folder, code), { cause: error });
    }
  }
}

async function explain(root: string, folder: string, code: string | undefined): Promise<string> {
  if (code === 'ENOENT')
    return `There is no folder ${root} (upstream.storage): write the registry's rootdirectory there, as it is on this machine.`;
  const owner = await stat(folder).then(
    ({ uid }) => ` (id ${uid})`,
    () => '',
  );
  return `The user of this process (id ${process.getuid?.() ?? 'unknown'}) may not read ${folder} (upstream.storage): run this as the registry's user${owner} or as root, or start the cleaner, which reads it: tidegate clean serve.`;
}
