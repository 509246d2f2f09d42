import type { Freeze, Freezer } from './repository-freezer.ts';

/** How long a freeze of another instance lasts after its last `freeze` message, in milliseconds. */
export const leaseMs = 10_000;
/** The most freezes of other instances at one time. */
const maxLeases = 1000;

/** A `freeze` message of another instance. */
export type FreezeNotice = {
  readonly id: string;
  readonly repository: string;
  /** When it was sent, by the sender's clock, in milliseconds. */
  readonly at: number;
};

/** The freezes in this instance that other instances requested. Each expires unless renewed. */
export type LeasedFreezes = {
  /** Freezes this instance's own processes, or keeps them frozen. */
  renew(notice: FreezeNotice): void;
  end(id: string): void;
  endAll(): void;
};

type Lease = {
  readonly freeze: Freeze;
  readonly timer: NodeJS.Timeout;
  /** The last notice, which the next answer answers. */
  notice: FreezeNotice;
  isQuiet: boolean;
};

/** @param onQuiet called for each notice once nothing is in progress in this instance's processes */
export function createLeasedFreezes(own: Freezer, onQuiet: (notice: FreezeNotice) => void): LeasedFreezes {
  const leases = new Map<string, Lease>();

  const start = (notice: FreezeNotice) => {
    const { id, repository } = notice;
    const freeze = own.freeze(repository, leaseMs);
    const timer = setTimeout(() => end(id), leaseMs).unref();
    const lease: Lease = { freeze, timer, notice, isQuiet: false };
    leases.set(id, lease);
    void freeze.quiet.then(() => {
      lease.isQuiet = true;
      if (leases.get(id) === lease) onQuiet(lease.notice);
    });
  };
  const end = (id: string) => {
    const lease = leases.get(id);
    if (lease === undefined) return;
    leases.delete(id);
    clearTimeout(lease.timer);
    lease.freeze.thaw();
  };

  return {
    renew: (notice) => {
      const lease = leases.get(notice.id);
      if (lease === undefined) {
        if (leases.size < maxLeases) start(notice);
        return;
      }
      lease.notice = notice;
      lease.timer.refresh();
      if (lease.isQuiet) onQuiet(notice);
    },
    end,
    endAll: () => {
      for (const id of leases.keys()) end(id);
    },
  };
}
