/** What a client is, as far as its User-Agent tells: one of a closed list, so that nothing a client sends is kept. */
export type ClientFamily = (typeof families)[number][0] | 'other';

/** The first that matches. Libraries come last: other programs add their name to that of the library. */
const families = [
  ['kaniko', /\bkaniko\b/],
  ['trivy', /\btrivy\b/],
  ['argo', /\bargo(?:cd|-cd)?\b/],
  ['flux', /\bflux\b|\b(?:source|image-reflector)-controller\b/],
  ['renovate', /\brenovate/],
  ['jib', /^jib\b/],
  ['cri-o', /^cri-o\//],
  ['kubelet', /^kubelet\b/],
  ['buildkit', /^buildkit\//],
  ['skopeo', /^skopeo\//],
  ['podman', /^(?:podman|libpod|buildah|containers)\//],
  ['docker', /^docker(?:-client|-compose)?\//],
  ['containerd', /^containerd\//],
  ['helm', /^helm\//],
  ['oras', /^oras\b/],
  ['cosign', /^cosign\//],
  ['regctl', /^reg(?:client|ctl|sync|bot)\b/],
  ['crane', /\bcrane\b|\bgo-containerregistry\b/],
  ['curl', /^(?:curl|wget)\//],
  ['browser', /^mozilla\//],
] as const;

/** Programs that nobody sits in front of. What people run too, such as docker and buildkit, is not among them. */
export const unattendedFamilies: ReadonlySet<string> = new Set<ClientFamily>([
  ...(['kaniko', 'trivy', 'argo', 'flux', 'renovate', 'cri-o', 'kubelet', 'containerd'] as const),
]);

const maxAgentLength = 256;
/** User-Agents that are known; beyond it they are read anew. */
const maxKnown = 500;

/** Creates what reads the family of a User-Agent, and remembers it. */
export function createFamilyReader(): (userAgent: string) => ClientFamily {
  const known = new Map<string, ClientFamily>();
  let last: { readonly userAgent: string; readonly family: ClientFamily } | undefined;
  const find = (userAgent: string): ClientFamily => {
    const found = known.get(userAgent);
    if (found !== undefined) return found;
    const text = userAgent.slice(0, maxAgentLength).toLowerCase();
    const family = families.find(([, form]) => form.test(text))?.[0] ?? 'other';
    if (known.size >= maxKnown) known.clear();
    if (userAgent.length <= maxAgentLength) known.set(userAgent, family);
    return family;
  };
  return (userAgent) => {
    // Most requests are of the same client as the one before.
    if (last?.userAgent !== userAgent) last = { userAgent, family: find(userAgent) };
    return last.family;
  };
}
