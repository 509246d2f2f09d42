import { readStatuses } from './file-status.ts';

export type FileWatch = {
  /** Acts at the next poll, changed or not. */
  lookAgain(): void;
  close(): void;
};

export type FileWatchOptions = {
  /** The files to follow, listed at each poll. */
  readonly paths: () => readonly string[];
  /** The signature that has been handled already; undefined: act at the first poll. */
  readonly actedOn: string | undefined;
  /**
   * Called when a file has changed, with the signature of all; never rejects. Returns the signature that was handled,
   * or undefined to be called again in any case.
   */
  readonly act: (signature: string) => Promise<string | undefined>;
};

const pollMs = 250;
/** The most polls to wait for a file that keeps changing. */
const maxUnsettledPolls = 4;

/**
 * Follows files: opens them and compares their status at each poll, which also detects renames, the symlink swaps of
 * Kubernetes and changes over NFS. Acts on a change once it was stable for one poll, since some programs write in
 * place, and a half-written file must not count.
 */
export function watchFiles({ paths, actedOn, act }: FileWatchOptions): FileWatch {
  let settled = actedOn;
  let seen: string | undefined;
  let unsettledPolls = 0;
  let closed = false;

  const poll = async (): Promise<void> => {
    const status = await readStatuses(paths());
    if (closed || status === null || status.signature === settled) return;
    const { signature } = status;
    const moved = signature !== seen;
    seen = signature;
    if (moved && ++unsettledPolls < maxUnsettledPolls) return;
    unsettledPolls = 0;
    settled = await act(signature);
  };

  const schedule = (): NodeJS.Timeout =>
    setTimeout(() => {
      void poll().finally(() => {
        if (!closed) timer = schedule();
      });
    }, pollMs).unref();
  let timer = schedule();

  return {
    lookAgain: () => {
      settled = undefined;
    },
    close: () => {
      closed = true;
      clearTimeout(timer);
    },
  };
}
