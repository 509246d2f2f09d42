import type { ScanFault } from './scan-types.ts';

/** Collects the faults of one repository. */
export type FaultList = {
  add(path: string, why: string, keeps: ScanFault['keeps']): void;
  list(): ScanFault[];
};

/** A damaged storage can have as many as it has links. */
const maxOfEachKind = 100;

export function createFaultList(root: string): FaultList {
  const faults: ScanFault[] = [];
  const counts = { itself: 0, repository: 0, storage: 0 };
  return {
    add: (path, why, keeps) => {
      counts[keeps] += 1;
      if (counts[keeps] <= maxOfEachKind)
        faults.push({ path: sayPath(path.slice(root.length + 1)), why, keeps });
    },
    list: () => {
      const more = Object.values(counts).reduce((sum, count) => sum + Math.max(0, count - maxOfEachKind), 0);
      const last = faults.at(-1);
      if (more === 0 || last === undefined) return faults;
      return [...faults, { ...last, why: `and ${more} more faults`, keeps: 'itself' }];
    },
  };
}

/** Names of files may contain anything; a terminal would obey control characters. */
function sayPath(path: string): string {
  return path.replace(/[\p{Cc}\p{Cf}]/gu, '\ufffd').slice(0, 1000);
}
