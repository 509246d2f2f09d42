/**
 * The version check, `GET /v2/`: who gets the challenge when no credentials came with it.
 *
 * The Docker engine, and most clients after it, learn that a registry wants credentials only from a 401 here; a 200
 * makes every password a "Login Succeeded" and every push a failure. Load balancers and people with curl, on the other
 * hand, take a 401 for a broken registry. So the registry clients below are challenged, by the product names
 * of their User-Agent (RFC 9110 section 10.1.5), and everyone else gets upstream's own answer.
 */
export const challengedProducts: ReadonlySet<string> = new Set([
  'docker', // Docker Engine: docker/20.10.24 go/go1.19.8 … UpstreamClient(Docker-Client/…)
  'docker-client', // Docker CLI without an engine
  'libpod', // podman
  'containers', // containers/image used by itself
  'buildah',
  'skopeo',
  'cri-o',
  'containerd', // containerd, ctr, nerdctl, Kubernetes nodes
  'buildkit',
  'oras',
  'oras-go',
  'helm',
  'regclient',
  'regctl',
  'go-containerregistry', // crane, ko, cosign
  'crane',
  'kaniko',
  'harbor-registry-client',
  'renovate',
  'renovatebot', // older Renovate
  'jib',
  'oc', // OpenShift's client
]);

export type VersionCheckMode = 'auto' | 'open' | 'challenge';

/**
 * Whether a version check that carries no Authorization is answered with the challenge.
 * @param furtherAgents texts that also ask for the challenge when the User-Agent contains one, in any case.
 */
export function isChallenged(
  mode: VersionCheckMode,
  method: string,
  userAgent: string,
  furtherAgents: readonly string[],
): boolean {
  if (mode !== 'auto') return mode === 'challenge';
  if (method !== 'GET') return false;
  const agent = userAgent.toLowerCase();
  return (
    agent.split(/[\s(),;]+/).some((token) => challengedProducts.has(token.replace(/\/.*$/s, ''))) ||
    furtherAgents.some((text) => agent.includes(text.toLowerCase()))
  );
}
