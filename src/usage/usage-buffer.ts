import type { InventoryChange } from '../inventory/inventory-change.ts';

/** Uses of one manifest under one reference, added up. Times in milliseconds since the epoch; null: never. */
export type ManifestUse = {
  readonly repository: string;
  /** The tag or digest that was asked for. */
  readonly reference: string;
  /** The digest that it led to; null: not known. */
  readonly digest: string | null;
  pulls: number;
  pulledMs: number | null;
  pulledBy: string | null;
  pushes: number;
  pushedMs: number | null;
  pushedBy: string | null;
};

/** Requests of one user with one family of clients, added up. */
export type UserUse = {
  readonly user: string;
  readonly family: string;
  logins: number;
  /** The addresses that they came from. They are counted, and never written to disk. */
  readonly addresses: string[];
};

/** What is sent on at once. */
export type UsageBatch = {
  readonly manifests: readonly ManifestUse[];
  readonly users: readonly UserUse[];
  /** What else changed which tags there are. */
  readonly changes: readonly InventoryChange[];
  /** How many uses were lost since the last batch, for want of room. */
  readonly dropped: number;
};

/** Takes batches; resolves when it is ready for the next. Rejects when the batch was not taken. */
export type UsageSink = { add(batch: UsageBatch): Promise<void> };

/** Adds up uses in bounded memory. What finds no room is dropped and counted. */
export type UsageBuffer = {
  /** The entry to add to; null: there is no room for another, and the use is counted as dropped. */
  manifest(repository: string, reference: string, digest: string | null): ManifestUse | null;
  /** The same for a user. */
  user(user: string, family: string): UserUse | null;
  /** Keeps a change; without room it is counted as dropped. */
  change(change: InventoryChange): void;
  addBatch(batch: UsageBatch): void;
  /** Removes and returns the oldest part, of at most `maxEntries` entries; null: there is nothing. */
  take(maxEntries: number): UsageBatch | null;
};

export type UsageBufferLimits = { readonly maxEntries: number; readonly maxBytes: number };

/** Counted for an entry, besides its own texts: those of principals, addresses, and what objects and maps take. */
const entryBytes = 700;
/** More addresses of a user are not counted. */
const maxAddresses = 64;

export function createUsageBuffer({ maxEntries, maxBytes }: UsageBufferLimits): UsageBuffer {
  // Two short keys are found faster than one that has the digest in it.
  const repositories = new Map<string, Map<string, ManifestUse[]>>();
  const users = new Map<string, UserUse>();
  const changes = new Map<string, InventoryChange>();
  let entries = 0;
  let bytes = 0;
  let dropped = 0;

  const hasRoom = (size: number): boolean => {
    if (entries >= maxEntries || bytes + size > maxBytes) {
      dropped += 1;
      return false;
    }
    entries += 1;
    bytes += size;
    return true;
  };
  const removed = (size: number): void => {
    entries -= 1;
    bytes -= size;
  };
  const manifest: UsageBuffer['manifest'] = (repository, reference, digest) => {
    const references = repositories.get(repository);
    const uses = references?.get(reference);
    if (uses !== undefined) for (const use of uses) if (use.digest === digest) return use;
    if (!hasRoom(sizeOfManifest(repository, reference, digest))) return null;
    const use = { repository, reference, digest, ...unused };
    if (uses !== undefined) uses.push(use);
    else if (references !== undefined) references.set(reference, [use]);
    else repositories.set(repository, new Map([[reference, [use]]]));
    return use;
  };
  const user: UsageBuffer['user'] = (name, family) => {
    const key = `${name}\n${family}`;
    const known = users.get(key);
    if (known !== undefined) return known;
    if (!hasRoom(sizeOfUser(name))) return null;
    const use: UserUse = { user: name, family, logins: 0, addresses: [] };
    users.set(key, use);
    return use;
  };
  const takeManifests = (max: number): ManifestUse[] => {
    const taken: ManifestUse[] = [];
    for (const [repository, references] of repositories) {
      for (const [reference, uses] of references) {
        if (taken.length >= max) return taken;
        references.delete(reference);
        for (const use of uses) removed(sizeOfManifest(repository, reference, use.digest));
        taken.push(...uses);
      }
      repositories.delete(repository);
    }
    return taken;
  };
  const takeUsers = (max: number): UserUse[] => {
    const taken: UserUse[] = [];
    for (const [key, use] of users) {
      if (taken.length >= max) break;
      users.delete(key);
      removed(sizeOfUser(use.user));
      taken.push(use);
    }
    return taken;
  };

  const change: UsageBuffer['change'] = (each) => {
    const key = `${each.repository}\n${each.reference ?? ''}`;
    if (!changes.has(key) && !hasRoom(entryBytes + 2 * key.length)) return;
    changes.set(key, each);
  };
  const takeChanges = (max: number): InventoryChange[] => {
    const taken: InventoryChange[] = [];
    for (const [key, each] of changes) {
      if (taken.length >= max) break;
      changes.delete(key);
      removed(entryBytes + 2 * key.length);
      taken.push(each);
    }
    return taken;
  };

  return {
    manifest,
    user,
    change,
    addBatch: (batch) => {
      dropped += batch.dropped;
      for (const use of batch.manifests) {
        const known = manifest(use.repository, use.reference, use.digest);
        if (known !== null) mergeManifest(known, use);
      }
      for (const use of batch.users) {
        const known = user(use.user, use.family);
        if (known !== null) mergeUser(known, use);
      }
      for (const each of batch.changes) change(each);
    },
    take: (max) => {
      if (entries + dropped === 0) return null;
      const manifests = takeManifests(max);
      const taken = takeUsers(max - manifests.length);
      const others = takeChanges(max - manifests.length - taken.length);
      const batch = { manifests, users: taken, changes: others, dropped };
      dropped = 0;
      return batch;
    },
  };
}

const unused = { pulls: 0, pulledMs: null, pulledBy: null, pushes: 0, pushedMs: null, pushedBy: null };

/** Notes an address of a user. */
export function addAddress(use: UserUse, address: string): void {
  if (use.addresses.includes(address) || use.addresses.length >= maxAddresses) return;
  use.addresses.push(address);
}

/** Adds one use to another; of the times the latest stays. */
export function mergeManifest(known: ManifestUse, use: ManifestUse): void {
  known.pulls += use.pulls;
  if ((use.pulledMs ?? -1) >= (known.pulledMs ?? 0)) {
    known.pulledMs = use.pulledMs;
    known.pulledBy = use.pulledBy;
  }
  known.pushes += use.pushes;
  if ((use.pushedMs ?? -1) >= (known.pushedMs ?? 0)) {
    known.pushedMs = use.pushedMs;
    known.pushedBy = use.pushedBy;
  }
}

function mergeUser(known: UserUse, use: UserUse): void {
  known.logins += use.logins;
  for (const address of use.addresses) addAddress(known, address);
}

function sizeOfManifest(repository: string, reference: string, digest: string | null): number {
  return entryBytes + repository.length + reference.length + (digest?.length ?? 0);
}

function sizeOfUser(user: string): number {
  return entryBytes + user.length + maxAddresses * 40;
}
