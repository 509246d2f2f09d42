import { isDeepStrictEqual } from 'node:util';
import type { ServedState } from '../app/served-state.ts';
import { createRequestUpstream } from '../upstream/request.ts';
import { createUpstream } from '../upstream/connections.ts';
import { createUpstreamProbe, type UpstreamProbe, type UpstreamState } from './upstream-probe.ts';
import { repeat } from './repeat.ts';

type Config = ServedState['config'];

/** The registry of a route, as its probes find it. */
export type RouteState = {
  readonly name: string;
  readonly requiredForReady: boolean;
  /** Null: not probed yet. */
  readonly state: UpstreamState | null;
};

/** Probes the registries of all routes, each by itself: one that hangs delays no other. */
export type RouteProbes = {
  states(): readonly RouteState[];
  /** Resolves when each registry that readiness depends on has been probed. */
  untilJudged(): Promise<unknown>;
  /** Ends the probes that the next ones, if any, do not go on with. */
  close(next?: RouteProbes): void;
  /** The probes by what they depend on. */
  readonly probes: readonly RunningProbe[];
};

type ProbeSettings = {
  readonly name: string;
  readonly upstream: Config['upstream'];
  /** PEM; null: the public CAs. */
  readonly ca: string | null;
};

type RunningProbe = {
  readonly settings: ProbeSettings;
  readonly state: () => UpstreamState | null;
  readonly first: Promise<void>;
  end(): void;
};

/** @param onProbe called after each probe */
export function openRouteProbes(
  routes: Config['routes'],
  cas: ServedState['pem']['routeCas'],
  onProbe: () => void,
  previous?: RouteProbes,
): RouteProbes {
  const probes = routes.map(({ name, upstream }) => {
    const settings = { name, upstream, ca: upstream.ca === null ? null : (cas[upstream.ca] ?? null) };
    const same = previous?.probes.find((each) => isDeepStrictEqual(each.settings, settings));
    return same ?? startProbe(settings, onProbe);
  });
  const required = new Set(routes.flatMap((route) => (route.requiredForReady ? [route.name] : [])));
  return {
    probes,
    states: () =>
      probes.map(({ settings: { name }, state }) => ({
        name,
        requiredForReady: required.has(name),
        state: state(),
      })),
    untilJudged: () =>
      Promise.all(probes.filter(({ settings }) => required.has(settings.name)).map((probe) => probe.first)),
    close: (next) => {
      for (const probe of probes) if (next?.probes.includes(probe) !== true) probe.end();
    },
  };
}

function startProbe(settings: ProbeSettings, onProbe: () => void): RunningProbe {
  const { probe, close } = openProbe(settings.upstream, settings.ca);
  let state: UpstreamState | null = null;
  let hasEnded = false;
  const probing = repeat(
    async () => {
      state = await probe.check();
      if (!hasEnded) onProbe();
    },
    () => settings.upstream.probeInterval,
  );
  return {
    settings,
    state: () => state,
    first: probing.first,
    end: () => {
      hasEnded = true;
      probing.end();
      close();
    },
  };
}

/** Opens the probe of a registry, with connections of its own. */
export function openProbe(
  settings: Config['upstream'],
  ca: string | null,
): { readonly probe: UpstreamProbe; readonly close: () => void } {
  const upstream = createUpstream({ ...settings, ca });
  const requestUpstream = createRequestUpstream({
    upstream,
    connectTimeoutMs: settings.connectTimeout,
    readTimeoutMs: settings.readTimeout,
  });
  const { authorization } = upstream;
  return {
    probe: createUpstreamProbe({ requestUpstream, authorization, now: () => performance.now() }),
    close: () => upstream.close(),
  };
}
