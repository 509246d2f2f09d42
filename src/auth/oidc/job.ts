import { hash } from 'node:crypto';
import type { Job } from '../../registry/principal.ts';

type Claims = Readonly<Record<string, string>>;

/** Largest text claims of a job, as JSON: access tokens carry them. */
export const maxClaimBytes = 4096;
const maxNameLength = 200;
/** Characters that could break or reorder a line, or be invisible; and the mark of a shortened name. */
const unprintable = /[\p{C}\p{Zl}\p{Zp}…]/gu;

/** Reads a job from the content of its token; a sentence if that is not possible. Only claims that are text are kept. */
export function readJob(issuer: string, payload: Readonly<Record<string, unknown>>): Job | string {
  const claims = Object.fromEntries(
    Object.entries(payload).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
  if ((claims['sub'] ?? '') === '') return 'it has no subject (sub)';
  if (Buffer.byteLength(JSON.stringify(claims)) > maxClaimBytes)
    return `its claims are longer than ${maxClaimBytes} bytes`;
  return { kind: 'job', issuer, name: nameJob(claims), claims };
}

/**
 * Names a job, for the log and as a key: `acme/app@refs/heads/main` if its claims name a repository and a ref, as those
 * of GitHub and GitLab do, else its subject. Claims are hostile text: a name that had to be changed gets a hash of the
 * whole, so no two jobs share a name.
 */
export function nameJob(claims: Claims): string {
  const { repository, project_path: project, ref, sub = '' } = claims;
  const source = repository ?? project;
  const name = source !== undefined && ref !== undefined ? `${source}@${ref}` : sub;
  const shown = Array.from(name.replace(unprintable, '?')).slice(0, maxNameLength).join('');
  return shown === name ? name : `${shown}…${hash('sha256', JSON.stringify(name), 'hex').slice(0, 16)}`;
}
