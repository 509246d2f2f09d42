import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { parseUploadSession } from '../../registry/operation.ts';
import { OciError } from '../../registry/error.ts';
import { principalText, type Principal } from '../../registry/principal.ts';
import { readQueryField } from '../../registry/query.ts';
import type { CanonicalTarget } from '../../registry/target.ts';
import { deriveKey, type Secrets } from './derived-key.ts';

/** How an upload session began. All marks of a session say the same: it is never renewed. */
export type UploadOrigin = {
  /** Seconds since 1970. */
  readonly startedAt: number;
  /** A hash of the id of the token that the client sent; zeros: it sent none. */
  readonly token: Buffer;
};

/** Restricts upload sessions to those who began them, by a mark in the query of each session's URL. Remembers nothing. */
export type UploadOwners = {
  /** Returns the origin of a session that begins now. @param tokenId null: the client sent no token */
  begin(tokenId: string | null): UploadOrigin;
  /**
   * Marks a Location of an upload session here as the principal's; any other stays as it is.
   * @param location a relative reference (RFC 3986 section 4.2), or what follows the authority of an absolute one
   * @param requestPath what it is relative to
   */
  mark(location: string, requestPath: string, principal: Principal, origin: UploadOrigin): string;
  /** Reads the mark and removes it, byte for byte; null unless there is exactly one, and it is the principal's. */
  unmark(target: CanonicalTarget, principal: Principal): UnmarkedUpload | null;
  /** Removes whatever has the form of a mark, whoever it is of. */
  strip(target: CanonicalTarget): string;
  /** Whether the principal began the target's session with this token, not longer ago than `graceMs`. */
  isInGrace(target: CanonicalTarget, principal: Principal, tokenId: string): boolean;
};

export type UnmarkedUpload = { readonly rawTarget: string; readonly origin: UploadOrigin };

const fieldName = '_owner';
const baseUrl = 'http://front.door';
const startBytes = 4;
const tokenBytes = 12;
/** A mark is start, token and MAC: 36 bytes, so that Base64 leaves no bits over and each mark has one spelling. */
const macBytes = 20;
const markForm = /^[\w-]{48}$/;
const noToken = Buffer.alloc(tokenBytes);

/** @param options now: milliseconds since 1970 */
export function createUploadOwners(
  secrets: Secrets,
  { graceMs, now }: { readonly graceMs: number; readonly now: () => number },
): UploadOwners {
  const keys = secrets.map((secret) => deriveKey(secret, 'upload owner'));
  /** Returns one MAC by each key; none if the path names no upload session. */
  const sign = (path: string, principal: Principal, { startedAt, token }: UploadOrigin): Buffer[] => {
    const upload = parseUploadSession(path);
    if (upload === null) return [];
    const { repository, session } = upload;
    const text = JSON.stringify([
      principalText(principal),
      repository,
      session,
      startedAt,
      token.toString('base64url'),
    ]);
    return keys.map((key) => createHmac('sha256', key).update(text).digest().subarray(0, macBytes));
  };

  const unmark: UploadOwners['unmark'] = (target, principal) => {
    const fields = readFields(target);
    const [mark, ...furtherMarks] = fields.filter(({ name }) => name === fieldName);
    if (mark === undefined || furtherMarks.length > 0 || !markForm.test(mark.value)) return null;
    const bytes = Buffer.from(mark.value, 'base64url');
    const found = {
      startedAt: bytes.readUInt32BE(0),
      token: bytes.subarray(startBytes, startBytes + tokenBytes),
    };
    const mac = bytes.subarray(startBytes + tokenBytes);
    if (!sign(target.path, principal, found).some((right) => timingSafeEqual(right, mac))) return null;
    return { rawTarget: join(target, fields, ({ name }) => name !== fieldName), origin: found };
  };

  return {
    begin: (tokenId) => ({
      startedAt: Math.floor(now() / 1000),
      token: tokenId === null ? noToken : hashTokenId(tokenId),
    }),
    mark: (location, requestPath, principal, began) => {
      const path = resolvePath(location, requestPath);
      const [mac] = path === null ? [] : sign(path, principal, began);
      if (mac === undefined) return location;
      const start = Buffer.alloc(startBytes);
      start.writeUInt32BE(began.startedAt);
      const mark = Buffer.concat([start, began.token, mac]).toString('base64url');
      const [, beforeFragment = '', fragment = ''] = /^([^#]*)(.*)/s.exec(location) ?? [];
      const separator = beforeFragment.includes('?') ? '&' : '?';
      return `${beforeFragment}${separator}${fieldName}=${mark}${fragment}`;
    },
    unmark,
    strip: (target) =>
      join(target, readFields(target), ({ name, value }) => name !== fieldName || !markForm.test(value)),
    isInGrace: (target, principal, tokenId) => {
      const began = unmark(target, principal)?.origin;
      if (began === undefined || !timingSafeEqual(began.token, hashTokenId(tokenId))) return false;
      return now() - began.startedAt * 1000 < graceMs;
    },
  };
}

type Field = { readonly text: string; readonly name: string; readonly value: string };

/** Reads the fields of the query. Clients rewrite it, in another order, when they add the digest. */
function readFields({ raw, rawPath }: CanonicalTarget): Field[] {
  if (raw === rawPath) return [];
  const texts = raw.slice(rawPath.length + 1).split('&');
  return texts.map((text) => ({ text, ...readQueryField(text) }));
}

function join(
  { raw, rawPath }: CanonicalTarget,
  fields: readonly Field[],
  keeps: (field: Field) => boolean,
): string {
  const kept = fields.filter(keeps);
  if (kept.length === fields.length) return raw;
  const query = kept.map(({ text }) => text).join('&');
  return query === '' ? rawPath : `${rawPath}?${query}`;
}

function hashTokenId(id: string): Buffer {
  return createHash('sha256').update(id).digest().subarray(0, tokenBytes);
}

/** The decoded path that a Location leads to; null: to another host, or one that cannot be decoded. */
function resolvePath(location: string, requestPath: string): string | null {
  if (location === '') return null;
  try {
    const url = new URL(location, baseUrl + requestPath);
    return url.origin === baseUrl ? decodeURIComponent(url.pathname) : null;
  } catch {
    return null;
  }
}

/** The 404 for a session of another. */
export function unknownUpload(): OciError {
  return new OciError('BLOB_UPLOAD_UNKNOWN', 'You have no such upload here: start it again.');
}
