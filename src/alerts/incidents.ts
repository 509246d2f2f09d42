import { createIncidentId, type Alert, type AlertKind } from './alert.ts';

/** The current state, as far as alerts need it. */
export type Facts = {
  /** How long the registry has not answered, in milliseconds, and why; null: it answers. */
  readonly upstreamDown: Down | null;
  /** The registries of the routes; `isKnown` false: not probed yet. */
  readonly routes: readonly {
    readonly name: string;
    readonly isKnown: boolean;
    readonly down: Down | null;
  }[];
  /** When the certificate expires, in milliseconds since the epoch; null: unknown. */
  readonly certificateEndMs: number | null;
  /** How orders for a certificate fare; null: the operator renews it. */
  readonly orders: {
    readonly hasCertificate: boolean;
    readonly failure: { readonly text: string; readonly tries: number } | null;
  } | null;
  /** Why the last clean-up did not do its work; null: it did, or there was none. */
  readonly cleanFailure: string | null;
  /** Whether a worker is in a crash loop. */
  readonly isCrashLooping: boolean;
  /** How many addresses and names have been locked out since the start, and the latest. */
  readonly lockOuts: {
    readonly count: number;
    readonly latest: { readonly kind: string; readonly network: string; readonly user: string | null } | null;
  };
};

type Down = { readonly forMs: number; readonly reason: string };

/** The thresholds of alerts. */
export type AlertRules = { readonly upstreamDownForMs: number; readonly certificateDays: number };

/** Raises one alert when an incident begins, and one when it is over. */
export type Incidents = { observe(facts: Facts, rules: AlertRules): void };

const dayMs = 86_400_000;
/** Lock-outs count as over after this time without one, in milliseconds. */
const lockOutsOverMs = 15 * 60_000;
/** The longest part of a foreign text that is repeated, in characters. */
const maxTextLength = 200;

const recovered: Readonly<Record<Exclude<AlertKind, 'route-down'>, string>> = {
  'upstream-down': 'The registry answers again.',
  'certificate-ending': 'A certificate with enough time left is in use.',
  'certificate-ended': 'A valid certificate is in use.',
  'certificate-order': 'The CA has issued a certificate.',
  'clean-failed': 'A clean-up has done its work.',
  'crash-loop': 'The worker processes run steadily again.',
  'lock-outs': 'Nobody was locked out for 15 minutes.',
  test: '',
};

/** @param options now: milliseconds since the epoch; raise: must not throw */
export function createIncidents(options: {
  host: string;
  now: () => number;
  raise: (alert: Alert) => void;
}): Incidents {
  const open = new Map<string, Subject & Pick<Alert, 'incident' | 'startedAt'>>();
  let knownLockOuts = 0;
  let lockedOutAtMs = -Infinity;

  const describeLockOuts = ({ count, latest }: Facts['lockOuts'], nowMs: number): string | null => {
    if (count > knownLockOuts) lockedOutAtMs = nowMs;
    knownLockOuts = count;
    if (nowMs - lockedOutAtMs >= lockOutsOverMs) return null;
    const who = latest === null ? '' : `, most recently ${describeLockOut(latest)}`;
    return `After too many wrong passwords somebody was locked out${who}. The log has the attempts, with their addresses.`;
  };

  return {
    observe: (facts, rules) => {
      const nowMs = options.now();
      const time = new Date(nowMs).toISOString();
      const { host } = options;
      const begin = (subject: Subject, text: string) => {
        if (open.has(keyOf(subject))) return;
        const incident = { ...subject, incident: createIncidentId(), startedAt: time };
        open.set(keyOf(subject), incident);
        options.raise({ ...incident, state: 'firing', text, endedAt: null, host });
      };
      const end = (subject: Subject, text: string) => {
        const known = open.get(keyOf(subject));
        open.delete(keyOf(subject));
        if (known) options.raise({ ...known, state: 'resolved', text, endedAt: time, host });
      };

      const wrong = [
        ['upstream-down', describeUpstream(facts, rules, open.has('upstream-down'))],
        ['certificate-ending', describeEnding(facts, rules, nowMs)],
        ['certificate-ended', describeEnded(facts, nowMs)],
        ['certificate-order', describeOrder(facts)],
        ['crash-loop', facts.isCrashLooping ? crashLoop : null],
        ['clean-failed', describeCleanFailure(facts)],
        ['lock-outs', describeLockOuts(facts.lockOuts, nowMs)],
      ] as const;
      for (const [kind, text] of wrong)
        if (text === null) end({ kind, upstream: null }, recovered[kind]);
        else begin({ kind, upstream: null }, text);
      for (const { name, isKnown, down } of facts.routes) {
        const subject = { kind: 'route-down', upstream: name } as const;
        const text = describeRoute(name, down, rules, open.has(keyOf(subject)));
        if (text !== null) begin(subject, text);
        else if (isKnown) end(subject, `The registry of the route ${name} answers again.`);
      }
      for (const { kind, upstream } of open.values())
        if (upstream !== null && !facts.routes.some(({ name }) => name === upstream))
          end({ kind, upstream }, `The route ${upstream} is not configured any more.`);
    },
  };
}

/** What an incident is about; there is one at a time. */
type Subject = Pick<Alert, 'kind' | 'upstream'>;

function keyOf({ kind, upstream }: Subject): string {
  return upstream === null ? kind : `${kind} ${upstream}`;
}

const crashLoop =
  'A worker process ends again and again, and is started later each time. The log says why, in "a worker process has ended".';

function describeUpstream(
  { upstreamDown, routes }: Facts,
  rules: AlertRules,
  isOpen: boolean,
): string | null {
  if (!isLongDown(upstreamDown, rules, isOpen)) return null;
  const left = routes.length === 0 ? '' : ' except through routes';
  return `The registry has not answered for ${toSeconds(upstreamDown)} seconds, and nobody can push or pull${left}: ${shorten(upstreamDown.reason)}`;
}

function describeRoute(name: string, down: Down | null, rules: AlertRules, isOpen: boolean): string | null {
  if (!isLongDown(down, rules, isOpen)) return null;
  return `The registry of the route ${name} has not answered for ${toSeconds(down)} seconds, and nobody can push or pull through it. See its log, and upstream of the route: ${shorten(down.reason)}`;
}

/**
 * @param isOpen it was alerted, and is over only when the registry answers: after a reload its time may count from
 * there
 */
function isLongDown(down: Down | null, { upstreamDownForMs }: AlertRules, isOpen: boolean): down is Down {
  return down !== null && (down.forMs >= upstreamDownForMs || isOpen);
}

function toSeconds({ forMs }: Down): number {
  return Math.round(forMs / 1000);
}

/** So many failed tries in a row are no accident. */
const failedTries = 3;

function describeOrder({ orders }: Facts): string | null {
  const { hasCertificate = false, failure = null } = orders ?? {};
  if (failure === null || failure.tries < failedTries) return null;
  const meanwhile = hasCertificate
    ? 'the present one stays in use until it ends'
    : 'no client trusts the present one';
  return `No certificate could be obtained in ${failure.tries} tries, and ${meanwhile}: ${shorten(failure.text)}`;
}

function describeCleanFailure({ cleanFailure }: Facts): string | null {
  return cleanFailure === null
    ? null
    : `The last clean-up did not do its work, and the disk fills: ${shorten(cleanFailure)}`;
}

/** One that is renewed in time ends soon all its life, where that is short; if not, its orders fail. */
function describeEnding(
  { certificateEndMs, orders }: Facts,
  { certificateDays }: AlertRules,
  nowMs: number,
): string | null {
  if (orders !== null && orders.failure === null) return null;
  if (certificateEndMs === null || certificateEndMs - nowMs > certificateDays * dayMs) return null;
  const days = Math.max(0, Math.floor((certificateEndMs - nowMs) / dayMs));
  return `The certificate expires in ${days} ${days === 1 ? 'day' : 'days'}, on ${new Date(certificateEndMs).toISOString()}: renew it.`;
}

function describeEnded({ certificateEndMs }: Facts, nowMs: number): string | null {
  if (certificateEndMs === null || certificateEndMs > nowMs) return null;
  return `The certificate expired on ${new Date(certificateEndMs).toISOString()}: no client accepts it any more. Renew it now.`;
}

function describeLockOut({ kind, network, user }: NonNullable<Facts['lockOuts']['latest']>): string {
  if (kind === 'address') return `the address ${defuse(network)}`;
  const name = user === null ? 'an unknown name' : `the name ${defuse(user)}`;
  return `${name}, tried from ${defuse(network)}`;
}

/** Anybody may have chosen it: in a chat it must not mention people or become a link. */
function defuse(text: string): string {
  return shorten(text).replace(/[^\p{L}\p{N}.:_/-]/gu, '?');
}

function shorten(text: string): string {
  return text.slice(0, maxTextLength);
}
