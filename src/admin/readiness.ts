import type { RouteState } from './route-probes.ts';
import type { ServerStatus } from './server-status.ts';
import type { UpstreamState } from './upstream-probe.ts';

/** The state of a running Tidegate; null: not known yet. */
export type ReadinessFacts = {
  readonly upstream: UpstreamState | null;
  readonly routes: readonly RouteState[];
  /** In milliseconds since the epoch. */
  readonly certificateEndMs: number | null;
  readonly certificate: Pick<ServerStatus['certificate'], 'origin' | 'acme'>;
  readonly workers: { readonly wanted: number; readonly serving: number };
  readonly isDraining: boolean;
  readonly cache: 'off' | 'used' | 'passed-by' | null;
};

/** A condition for clients to be sent here. */
export type ReadinessCheck = { readonly ok: boolean; readonly detail: string };

/** Whether clients should be sent here, with the reasons. */
export type Readiness = {
  readonly ready: boolean;
  readonly checks: Readonly<Record<'upstream' | 'certificate' | 'workers' | 'draining', ReadinessCheck>>;
  /** The registries of the routes, by name; left out: there are none. */
  readonly routes?: Readonly<Record<string, ReadinessCheck & { readonly required: boolean }>>;
  /** Details that do not affect readiness: without its cache everything works, only slower. */
  readonly details: { readonly cache: string };
};

/** @param nowMs milliseconds since the epoch */
export function judgeReadiness(facts: ReadinessFacts, nowMs: number): Readiness {
  const { workers, isDraining } = facts;
  const checks = {
    upstream: judgeUpstream(facts.upstream),
    certificate: judgeCertificate(facts, nowMs),
    workers: { ok: workers.serving > 0, detail: `${workers.serving} of ${workers.wanted} serve` },
    draining: { ok: !isDraining, detail: isDraining ? 'it drains, and accepts nothing new' : 'no' },
  };
  const routes = facts.routes.map(({ name, requiredForReady: required, state }) => ({
    name,
    check: { ...judgeUpstream(state), required },
  }));
  return {
    ready:
      Object.values(checks).every(({ ok }) => ok) &&
      routes.every(({ check: { ok, required } }) => ok || !required),
    checks,
    ...(routes.length === 0
      ? {}
      : { routes: Object.fromEntries(routes.map(({ name, check }) => [name, check])) }),
    details: { cache: facts.cache ?? 'unknown' },
  };
}

function judgeUpstream(state: UpstreamState | null): ReadinessCheck {
  if (state === null) return { ok: false, detail: 'not probed yet' };
  return state.kind === 'up'
    ? { ok: true, detail: `it answers (${state.status})` }
    : { ok: false, detail: `no answer for ${Math.round(state.forMs / 1000)} s: ${state.reason}` };
}

function judgeCertificate(
  { certificateEndMs: endMs, certificate: { origin, acme } }: ReadinessFacts,
  nowMs: number,
): ReadinessCheck {
  if (endMs === null) return { ok: false, detail: 'not known yet' };
  const failure = describeOrders(acme);
  // Ready all the same: a balancer that sends nobody here would keep the CA out as well.
  if (origin === 'interim') return { ok: true, detail: `self-signed, until the CA has issued one${failure}` };
  return { ok: endMs > nowMs, detail: `valid to ${new Date(endMs).toISOString()}${failure}` };
}

/** As the end of a sentence. */
function describeOrders(acme: ReadinessFacts['certificate']['acme']): string {
  if (acme?.failure == null) return '';
  const { tries, text } = acme.failure;
  const orders = tries === 1 ? 'last order' : `last ${tries} orders`;
  const next = acme.nextAtMs === null ? '' : `; the next try is at ${new Date(acme.nextAtMs).toISOString()}`;
  return `; the ${orders} failed: ${text.replace(/\.$/, '')}${next}`;
}
