import type { Socket } from 'node:net';
import { createLineReader } from './line-reader.ts';

/** A line: an object with a `kind`; with a `number` it wants an `answer` of that number. */
export type ChannelMessage = { readonly kind: string } & Readonly<Record<string, unknown>>;

/** Bounds of a channel, so that a peer that hangs or goes wild costs little. Times in milliseconds. */
export type PeerLimits = {
  readonly pingMs: number;
  /** A peer that says nothing for longer is cut off. */
  readonly silenceMs: number;
  readonly maxLineBytes: number;
  /** What may wait to be sent. */
  readonly maxUnsentBytes: number;
  /** How many asks of the peer may be without an answer. */
  readonly maxAsks: number;
};

export const peerLimits: PeerLimits = {
  pingMs: 1000,
  silenceMs: 15_000,
  maxLineBytes: 16 * 1024 * 1024,
  maxUnsentBytes: 64 * 1024 * 1024,
  maxAsks: 64,
};

/** The peer did not answer, or answered that it cannot; or the connection has ended. */
export class PeerError extends Error {
  override readonly name = 'PeerError';
}

/** The other end of a connection on which both sides send lines of JSON. */
export type Peer = {
  /** Resolves with the peer's answer. @throws PeerError */
  ask(message: ChannelMessage, limitMs: number): Promise<unknown>;
  tell(message: ChannelMessage): void;
  /** How long it has said nothing, in milliseconds. */
  silentMs(): number;
  /** Aborted when the connection has ended; the reason is an Error that says why. */
  readonly closed: AbortSignal;
  /** Sends what is to be sent, and closes. */
  end(): void;
};

export type PeerOptions = {
  /** Called for what is neither an answer nor an ask. */
  readonly onTold: (message: ChannelMessage) => void;
  /** What it resolves with is the answer; the message of an Error is told to the peer. */
  readonly onAsked: (message: ChannelMessage) => Promise<unknown>;
  /** Called once. `isFault`: the peer broke the rules. */
  readonly onClosed: (why: string, isFault: boolean) => void;
  readonly limits?: PeerLimits;
};

type Waiting = { readonly settle: (answer: ChannelMessage | PeerError) => void };

/** Speaks with the peer on a connected socket. */
export function openPeer(socket: Socket, options: PeerOptions): Peer {
  const { limits = peerLimits } = options;
  const waiting = new Map<number, Waiting>();
  const closing = new AbortController();
  let lastNumber = 0;
  let asks = 0;
  let heardAtMs = performance.now();

  const close = (why: string, isFault = false): void => {
    if (closing.signal.aborted) return;
    clearInterval(pinging);
    closing.abort(new PeerError(why));
    socket.destroy();
    for (const { settle } of waiting.values()) settle(new PeerError(why));
    waiting.clear();
    options.onClosed(why, isFault);
  };
  const send = (message: ChannelMessage): void => {
    if (closing.signal.aborted || socket.writableEnded) return;
    const line = `${JSON.stringify(message)}\n`;
    if (line.length > limits.maxLineBytes) throw new PeerError(`the ${message.kind} is too long to be sent`);
    socket.write(line);
    if (socket.writableLength > limits.maxUnsentBytes) close('it does not read what is sent to it');
  };

  const answer = async (number: number, message: ChannelMessage): Promise<void> => {
    asks += 1;
    try {
      send({ kind: 'answer', number, value: (await options.onAsked(message)) ?? null });
    } catch (error) {
      send({ kind: 'answer', number, error: (error as Error).message });
    } finally {
      asks -= 1;
    }
  };
  const receive = (line: string): void => {
    const message = parseMessage(line);
    if (message === null) {
      close('it sent a line that is no message', true);
      return;
    }
    const { kind, number } = message;
    if (kind === 'ping') return;
    if (typeof number !== 'number') options.onTold(message);
    else if (kind === 'answer') {
      waiting.get(number)?.settle(message);
      waiting.delete(number);
    } else if (asks >= limits.maxAsks) close('it asks too much at once', true);
    else void answer(number, message);
  };

  const lines = createLineReader(limits.maxLineBytes);
  socket.on('data', (piece: Buffer) => {
    heardAtMs = performance.now();
    for (const line of lines.read(piece)) {
      if (closing.signal.aborted) return;
      if (line === null) close('it sent a line that is too long', true);
      else receive(line);
    }
  });
  socket.on('error', (error) => close(error.message));
  socket.on('end', () => close('it closed the connection'));
  socket.on('close', () => close('the connection ended'));
  const pinging = setInterval(() => {
    // Reads the socket once more: what this process was late to read is no silence.
    setImmediate(() => {
      if (performance.now() - heardAtMs > limits.silenceMs)
        close(`it has said nothing for ${limits.silenceMs / 1000} seconds`);
    });
    send({ kind: 'ping' });
  }, limits.pingMs).unref();

  return {
    ask: (message, limitMs) =>
      new Promise((resolve, reject) => {
        closing.signal.throwIfAborted();
        const number = ++lastNumber;
        const timer = setTimeout(() => {
          waiting.delete(number);
          reject(new PeerError(`it did not answer "${message.kind}" within ${limitMs} ms`));
        }, limitMs).unref();
        waiting.set(number, {
          settle: (result) => {
            clearTimeout(timer);
            if (result instanceof PeerError) reject(result);
            else if (typeof result['error'] === 'string') reject(new PeerError(result['error']));
            else resolve(result['value']);
          },
        });
        send({ ...message, number });
      }),
    tell: send,
    silentMs: () => performance.now() - heardAtMs,
    closed: closing.signal,
    end: () => {
      socket.end();
      setTimeout(() => close('it did not close the connection'), limits.silenceMs).unref();
    },
  };
}

function parseMessage(line: string): ChannelMessage | null {
  try {
    const value: unknown = JSON.parse(line);
    const isMessage = typeof value === 'object' && value !== null && 'kind' in value;
    return isMessage && typeof value.kind === 'string' ? (value as ChannelMessage) : null;
  } catch {
    return null;
  }
}
