import { knownProbes } from './known-probes.ts';

export type VersionCheckMode = 'auto' | 'open' | 'challenge';

/** More User-Agents, each given as a text that they contain, in any case. */
export type VersionCheckAgents = {
  readonly challengeAgents: readonly string[];
  readonly openAgents: readonly string[];
};

/**
 * Whether a version check, `GET /v2/`, that carries no credentials is answered with the challenge.
 *
 * The Docker engine, and most clients after it, learn that a registry wants credentials only from a 401 here; a 200
 * makes every password a "Login Succeeded" and every push a failure. Not all clients can be known: some send the name
 * of their library (`Go-http-client/1.1`). So an unknown name is challenged. Load balancers and people with curl take a
 * 401 for a broken registry; their names are known.
 */
export function isChallenged(
  mode: VersionCheckMode,
  method: string,
  userAgent: string,
  { challengeAgents, openAgents }: VersionCheckAgents,
): boolean {
  if (mode !== 'auto') return mode === 'challenge';
  if (method !== 'GET') return false;
  if (contains(userAgent, challengeAgents)) return true;
  return userAgent !== '' && !knownProbe.test(userAgent) && !contains(userAgent, openAgents);
}

function contains(userAgent: string, texts: readonly string[]): boolean {
  const agent = userAgent.toLowerCase();
  return texts.some((text) => agent.includes(text.toLowerCase()));
}

/** The characters of a product name (RFC 9110 sections 5.6.2 and 10.1.5). */
const tokenCharacter = "[!#$%&'*+.^_`|~0-9A-Za-z-]";
const knownProbe = new RegExp(`^(?:${knownProbes.map(formatPattern).join('|')})`, 'i');

function formatPattern(name: string): string {
  const isBeginning = name.endsWith('*');
  const literal = (isBeginning ? name.slice(0, -1) : name).replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
  return isBeginning ? literal : `${literal}(?!${tokenCharacter})`;
}
