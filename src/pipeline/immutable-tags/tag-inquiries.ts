/** Lets one of its kind begin; to be called once when it has ended. */
export type Leave = () => void;

/** Why it may not: too long a wait, too many of this user who wait already, or whoever wanted to has left. */
export type InquiryRefusal = 'late' | 'crowded' | 'gone';

/** Bounds how much one process finds out about immutable tags at a time. */
export type TagInquiries = {
  /** Waits for its turn: one at a time of each user, and of all no more than there may be; never rejects. */
  enter(user: string, signal: AbortSignal): Promise<Leave | InquiryRefusal>;
};

export type TagInquiriesOptions = {
  readonly max: number;
  readonly waitMs: number;
  /** How many of one user may wait. */
  readonly maxWaiting: number;
};

type Waiter = { readonly user: string; readonly begin: () => void };

export function createTagInquiries({ max, waitMs, maxWaiting }: TagInquiriesOptions): TagInquiries {
  /** The users who have one under way. */
  const underWay = new Set<string>();
  const waiting = new Set<Waiter>();

  const mayBegin = (user: string) => underWay.size < max && !underWay.has(user);
  const begin = (user: string): Leave => {
    underWay.add(user);
    let hasLeft = false;
    return () => {
      if (hasLeft) return;
      hasLeft = true;
      underWay.delete(user);
      for (const waiter of waiting) if (mayBegin(waiter.user)) waiter.begin();
    };
  };

  return {
    enter: (user, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) {
          resolve('gone');
          return;
        }
        if (mayBegin(user)) {
          resolve(begin(user));
          return;
        }
        if ([...waiting].filter((waiter) => waiter.user === user).length >= maxWaiting) {
          resolve('crowded');
          return;
        }
        const end = (outcome: Leave | InquiryRefusal) => {
          clearTimeout(timer);
          signal.removeEventListener('abort', leave);
          waiting.delete(waiter);
          resolve(outcome);
        };
        const waiter = { user, begin: () => end(begin(user)) };
        const leave = () => end('gone');
        const timer = setTimeout(() => end('late'), waitMs);
        signal.addEventListener('abort', leave, { once: true });
        waiting.add(waiter);
      }),
  };
}
