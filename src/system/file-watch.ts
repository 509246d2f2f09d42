import { readStatuses } from './file-status.ts';

export type FileWatch = { close(): void };

export type FileWatchOptions = {
  /** The files to follow, asked for at each poll. */
  readonly paths: () => readonly string[];
  /** The signature of what has been acted upon already; undefined: act at the first poll. */
  readonly actedOn: string | undefined;
  /**
   * Called when a file is another, with the signature of all of them; never rejects. Gives the signature that has been acted
   * upon, and undefined to be called again in any case.
   */
  readonly act: (signature: string) => Promise<string | undefined>;
};

const pollMs = 250;
/** A writer that never rests is not waited for longer than this many polls. */
const maxUnsettledPolls = 4;

/**
 * Follows files. They are opened and their status compared at each poll, which also sees renames, the symlink swaps of Kubernetes
 * and changes over NFS. A change is acted upon once it has held still for one poll, since some programs write in place: a half-written
 * file must not count.
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
    close: () => {
      closed = true;
      clearTimeout(timer);
    },
  };
}
