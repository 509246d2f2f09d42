import { createPacedRunner, runAtOnce } from '../scan/paced-steps.ts';
import { createRareCheck, maxLockedPaths } from './rare-check.ts';
import { countPaths, findWritten, type RepositoryView } from './repository-view.ts';
import type { RunContext } from './run-context.ts';

/** Looks for writes around the front doors, which are in no evidence. */
export type ViewCheck = {
  /** Call it before each lock. */
  prepare(): Promise<void>;
  /** What is found now in a small repository, or was found lately in a large one. Call it under the lock. */
  findWritten(): string | null;
};

export function createViewCheck({ folder, clean }: RunContext, view: RepositoryView): ViewCheck {
  const { root } = folder;
  const isLarge = () => countPaths(view) > maxLockedPaths;
  const check = createRareCheck(() => createPacedRunner({ pace: clean.pace }).run(findWritten(root, view)));
  let found: string | null = null;
  return {
    prepare: async () => {
      if (isLarge()) found = await check.look();
    },
    findWritten: () => (isLarge() ? found : runAtOnce(findWritten(root, view))),
  };
}
