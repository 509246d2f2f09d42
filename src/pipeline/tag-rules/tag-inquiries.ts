/** Ends an inspection, so that the next may begin. */
export type EndInspection = () => void;

/** Why an inspection may not begin: it waited too long, too many of its user wait, or its client has left. */
export type InquiryRefusal = 'late' | 'crowded' | 'gone';

/** Limits how many deletes one process inspects at a time. */
export type TagInquiries = {
  /** Waits until one may begin: one per user at a time, and at most `max` of all users. Never rejects. */
  enter(user: string, signal: AbortSignal): Promise<EndInspection | InquiryRefusal>;
};

export type TagInquiriesOptions = {
  readonly max: number;
  readonly waitMs: number;
  /** How many of one user may wait. */
  readonly maxWaiting: number;
};

type Waiter = { readonly user: string; readonly begin: () => void };

export function createTagInquiries({ max, waitMs, maxWaiting }: TagInquiriesOptions): TagInquiries {
  /** The users with a running inspection. */
  const underWay = new Set<string>();
  const waiting = new Set<Waiter>();

  const mayBegin = (user: string) => underWay.size < max && !underWay.has(user);
  const begin = (user: string): EndInspection => {
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
        const end = (outcome: EndInspection | InquiryRefusal) => {
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
