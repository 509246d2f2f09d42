import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { OciError } from '../../../registry/error.ts';
import { deriveKey, type Secrets } from '../derived-key.ts';

/** Where a list goes on, in upstream's terms; it can hold names that the client may not know of. */
export type PagePlace = {
  /** The query by which upstream is asked. */
  readonly query: string;
  /** What comes up to this name has been shown already; null: nothing of it. */
  readonly after: string | null;
};

/** Turns places into texts that a client brings back, and that tell it nothing. */
export type PageCursors = {
  seal(place: PagePlace): string;
  /** Gives null for what is no such text. @throws OciError BAD_REQUEST for one that cannot be read (any more). */
  open(text: string): PagePlace | null;
};

/** No repository's name begins with it, and no query needs it encoded. */
const mark = '~';
const ivBytes = 12;
const tagBytes = 16;
/** Lengths are rounded up to this, so that they tell little of the name, in bytes. */
const blockBytes = 256;

export function createPageCursors(secrets: Secrets): PageCursors {
  const use = 'page cursor';
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
