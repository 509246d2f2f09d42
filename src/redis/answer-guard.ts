/** Checks what a Redis sends before the client library reads it. */
export type RedisAnswerGuard = {
  /** Checks the next bytes of a connection. @throws Error when they begin something that no Redis answers here. */
  look(bytes: Buffer): void;
};

/** The longest line: an error's text. */
const maxLineBytes = 64 * 1024;
/** The longest text: `info` and manifests, of which cache.maxEntryBytes allows 16 MiB. */
const maxTextBytes = 32 * 1024 * 1024;
/** The longest list: a cluster has 16,384 slots. */
const maxListItems = 65_536;
/** Enough to hold the type and a length. */
const headBytes = 16;
const [lineFeed, text, list] = [10, 36, 42];

/**
 * Creates the guard of one connection. It follows only the framing of RESP2: lines, and texts whose length a line
 * gives. The library's parser reads an incomplete answer from its beginning with each piece that comes, so an endless
 * answer would take all the time of this process.
 */
export function createRedisAnswerGuard(): RedisAnswerGuard {
  /** How much of a text is missing, with the two bytes that end it. */
  let textLeft = 0;
  let lineBytes = 0;
  let head = '';

  const endLine = () => {
    const type = head.charCodeAt(0);
    const count = Number.parseInt(head.slice(1), 10);
    if (type === text && count > maxTextBytes) throw new Error('a text of an answer is too long');
    if (type === list && count > maxListItems) throw new Error('a list of an answer is too long');
    if (type === text && count >= 0) textLeft = count + 2;
    lineBytes = 0;
    head = '';
  };

  return {
    look: (bytes) => {
      for (let at = 0; at < bytes.length;) {
        if (textLeft > 0) {
          const taken = Math.min(textLeft, bytes.length - at);
          textLeft -= taken;
          at += taken;
          continue;
        }
        const found = bytes.indexOf(lineFeed, at);
        const end = found === -1 ? bytes.length : found;
        if (head.length < headBytes)
          head += bytes.toString('latin1', at, Math.min(end, at + headBytes - head.length));
        lineBytes += end - at;
        if (lineBytes > maxLineBytes) throw new Error('a line of an answer is too long');
        if (found !== -1) endLine();
        at = end + 1;
      }
    },
  };
}
