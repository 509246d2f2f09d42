import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { OciError } from '../../../registry/error.ts';
import { deriveKey, type Secrets } from '../derived-key.ts';

/** The position in upstream's list; it can hold names that the client may not see. */
export type PagePlace = {
  /** The query for upstream. */
  readonly query: string;
  /** Names up to this one were shown already; null: none. */
  readonly after: string | null;
};

/** Converts positions to opaque texts that a client sends back. */
export type PageCursors = {
  seal(place: PagePlace): string;
  /** Returns null for a text that is not a cursor. @throws OciError BAD_REQUEST for one that cannot be read (any more). */
  open(text: string): PagePlace | null;
};

/** No repository's name begins with it, and no query needs it encoded. */
const mark = '~';
const ivBytes = 12;
const tagBytes = 16;
/** Lengths are rounded up to this, to hide that of the name, in bytes. */
const blockBytes = 256;

/** @param use positions are valid only for the use that they are sealed for */
export function createPageCursors(secrets: Secrets, use = 'page cursor'): PageCursors {
  const sealKey = deriveKey(secrets[0], use);
  const keys = secrets.map((secret) => deriveKey(secret, use));
  return {
    seal: ({ query, after }) => {
      const text = Buffer.from(`${query}\n${after ?? ''}\n`);
      const padding = Buffer.alloc((blockBytes - (text.length % blockBytes)) % blockBytes);
      const iv = randomBytes(ivBytes);
      const cipher = createCipheriv('aes-256-gcm', sealKey, iv);
      const sealed = [iv, cipher.update(text), cipher.update(padding), cipher.final(), cipher.getAuthTag()];
      return mark + Buffer.concat(sealed).toString('base64url');
    },
    open: (text) => {
      if (!text.startsWith(mark)) return null;
      const sealed = Buffer.from(text.slice(mark.length), 'base64url');
      for (const key of keys) {
        const opened = decrypt(sealed, key);
        if (opened === null) continue;
        const [query = '', after = ''] = opened.split('\n');
        return { query, after: after === '' ? null : after };
      }
      throw new OciError(
        'BAD_REQUEST',
        'This "last" is not valid here, or no longer: ask for the list again.',
      );
    },
  };
}

function decrypt(sealed: Buffer, key: Buffer): string | null {
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, ivBytes), {
      authTagLength: tagBytes,
    });
    decipher.setAuthTag(sealed.subarray(-tagBytes));
    return Buffer.concat([decipher.update(sealed.subarray(ivBytes, -tagBytes)), decipher.final()]).toString();
  } catch {
    return null;
  }
}
