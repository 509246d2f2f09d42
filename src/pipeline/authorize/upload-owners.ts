import { createHmac, timingSafeEqual } from 'node:crypto';
import { parseUploadSession } from '../../registry/operation.ts';
import { OciError } from '../../registry/error.ts';
import { principalText, type Principal } from '../../registry/principal.ts';
import { readQueryField } from '../../registry/query.ts';
import type { CanonicalTarget } from '../../registry/target.ts';
import { deriveKey, type Secrets } from './derived-key.ts';

/** Restricts upload sessions to those who opened them, by a mark in the query of each session's URL. Remembers nothing. */
export type UploadOwners = {
  /**
   * Marks a Location of an upload session here as the principal's; any other stays as it is.
   * @param location a relative reference (RFC 3986 section 4.2), or what follows the authority of an absolute one
   * @param requestPath what it is relative to
   */
  mark(location: string, requestPath: string, principal: Principal): string;
  /**
   * Returns the request target without the mark, otherwise unchanged; null unless it has exactly one, which is the
   * principal's.
   */
  unmark(target: CanonicalTarget, principal: Principal): string | null;
};

const fieldName = '_owner';
const origin = 'http://front.door';

export function createUploadOwners(secrets: Secrets): UploadOwners {
  const keys = secrets.map((secret) => deriveKey(secret, 'upload owner'));
  /** A signature by each key; none for anything but an upload session. */
  const sign = (path: string, principal: Principal): string[] => {
    const upload = parseUploadSession(path);
    if (upload === null) return [];
    const text = JSON.stringify([principalText(principal), upload.repository, upload.session]);
    return keys.map((key) => createHmac('sha256', key).update(text).digest('base64url'));
  };
  return {
    mark: (location, requestPath, principal) => {
      const path = resolvePath(location, requestPath);
      const [owner] = path === null ? [] : sign(path, principal);
      if (owner === undefined) return location;
      const [, beforeFragment = '', fragment = ''] = /^([^#]*)(.*)/s.exec(location) ?? [];
      const separator = beforeFragment.includes('?') ? '&' : '?';
      return `${beforeFragment}${separator}${fieldName}=${owner}${fragment}`;
    },
    unmark: ({ raw, rawPath, path }, principal) => {
      // Clients rewrite the query, in another order, when they add the digest.
      const texts = raw === rawPath ? [] : raw.slice(rawPath.length + 1).split('&');
      const isMark = (text: string) => readQueryField(text).name === fieldName;
      const [mark, ...furtherMarks] = texts.filter(isMark);
      if (mark === undefined || furtherMarks.length > 0) return null;
      const { value } = readQueryField(mark);
      if (!sign(path, principal).some((owner) => isEqual(value, owner))) return null;
      const query = texts.filter((text) => !isMark(text)).join('&');
      return query === '' ? rawPath : `${rawPath}?${query}`;
    },
  };
}

/** The decoded path that a Location leads to; null: to another host, or one that cannot be decoded. */
function resolvePath(location: string, requestPath: string): string | null {
  if (location === '') return null;
  try {
    const url = new URL(location, origin + requestPath);
    return url.origin === origin ? decodeURIComponent(url.pathname) : null;
  } catch {
    return null;
  }
}

function isEqual(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** The 404 for a session of another. */
export function unknownUpload(): OciError {
  return new OciError('BLOB_UPLOAD_UNKNOWN', 'You have no such upload here: start it again.');
}
