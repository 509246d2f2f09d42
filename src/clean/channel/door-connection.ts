import type { Socket } from 'node:net';
import { connectTo } from '../../system/unix-socket.ts';
import type { DoorAsk, Hello } from './messages.ts';
import { parseDoorAsk } from './parse-messages.ts';
import { openPeer, PeerError, type Peer, type PeerLimits } from './peer.ts';

/** A front door's connection to the cleaner, which it keeps open. Without a cleaner nothing else changes. */
export type DoorConnection = {
  isConnected(): boolean;
  /** Call it right away. Resolves when the cleaner has noted this front door, there is none, or it is late. */
  untilNoted(): Promise<void>;
  /** Tells that this front door serves from now on: so does its hello. */
  serves(): void;
  /** How long the cleaner has said nothing, in milliseconds; Infinity: it is not connected. */
  silentMs(): number;
  /** Connects anew: what the hello says has changed. */
  renew(): void;
  /** Signs off: this front door answers nobody any more. */
  close(): Promise<void>;
};

export type DoorConnectionOptions = {
  readonly path: string;
  readonly hello: () => Hello;
  readonly answer: (ask: DoorAsk) => Promise<unknown>;
  /** The cleaner is gone, and what it asked for is not wanted any more. */
  readonly onGone: () => void;
  /** Nobody listens: no cleaner runs. */
  readonly onAbsent: () => void;
  readonly logger: Record<'info' | 'warn', (fields: object, message: string) => void>;
  readonly limits?: PeerLimits;
};

/** How long it waits before it connects again: longer each time, in milliseconds. */
const retryMs = { first: 250, most: 5000 };
const signOffMs = 2000;
/** How long a start waits until it is noted, in milliseconds. */
const notedMs = 2000;

export function openDoorConnection(options: DoorConnectionOptions): DoorConnection {
  const { path, logger } = options;
  let socket: Socket | null = null;
  let peer: Peer | null = null;
  /** Whether the cleaner has taken it. */
  let isWelcome = false;
  let isRenewing = false;
  let failures = 0;
  let said = '';
  /** Whether the log says that there is none. */
  let isMissed = false;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  let note = () => {};

  /** Each trouble once. */
  const complain = (reason: string): void => {
    if (reason === said) return;
    said = reason;
    isMissed = true;
    logger.warn({ socket: path }, `The cleaner cannot be reached: ${reason}`);
  };
  const retry = (): void => {
    if (isClosed) return;
    const waitMs = Math.min(retryMs.first * 2 ** failures, retryMs.most);
    failures += 1;
    timer = setTimeout(() => void open(), waitMs).unref();
  };
  const welcome = (): void => {
    if (isWelcome) return;
    isWelcome = true;
    failures = 0;
    said = '';
    if (isMissed) logger.info({ socket: path }, 'connected to the cleaner again');
    isMissed = false;
  };
  const ended = (why: string): void => {
    const wasWelcome = isWelcome;
    peer = null;
    isWelcome = false;
    note();
    options.onGone();
    if (!isClosed && !isRenewing) {
      if (wasWelcome) {
        logger.info({ socket: path, reason: why }, 'the cleaner is gone');
        isMissed = true;
      } else complain(why);
    }
    isRenewing = false;
    retry();
  };
  const speak = (connected: Socket): void => {
    peer = openPeer(connected, {
      ...(options.limits && { limits: options.limits }),
      onTold: ({ kind }) => {
        if (kind === 'noted') note();
        if (kind === 'welcome') welcome();
      },
      onAsked: (message) => {
        const ask = parseDoorAsk(message);
        if (ask === null) throw new PeerError(`this front door cannot do "${message.kind.slice(0, 50)}"`);
        return options.answer(ask);
      },
      onClosed: (why, isFault) => {
        if (isFault) logger.warn({ socket: path, reason: why }, 'the cleaner broke the rules of the channel');
        ended(why);
      },
    });
    peer.tell(options.hello());
  };
  const open = async (): Promise<void> => {
    timer = undefined;
    try {
      // Null: there is no cleaner, or it is about to start.
      socket = await connectTo(path);
      if (isClosed) socket?.destroy();
      else if (socket === null) {
        note();
        options.onAbsent();
        retry();
      } else speak(socket);
    } catch (error) {
      note();
      complain((error as Error).message);
      retry();
    }
  };
  void open();

  return {
    isConnected: () => isWelcome,
    untilNoted: () =>
      new Promise((resolve) => {
        const end = () => {
          clearTimeout(late);
          resolve();
        };
        const late = setTimeout(() => {
          logger.warn(
            { socket: path, ms: notedMs },
            'the cleaner is late to note this start: not waited for',
          );
          end();
        }, notedMs);
        note = end;
      }),
    serves: () => {
      if (peer !== null) peer.tell({ kind: 'serving' });
      else if (timer !== undefined) {
        clearTimeout(timer);
        void open();
      }
    },
    silentMs: () => peer?.silentMs() ?? Infinity,
    renew: () => {
      isRenewing = peer !== null;
      peer?.end();
    },
    close: async () => {
      isClosed = true;
      clearTimeout(timer);
      await peer?.ask({ kind: 'bye' }, signOffMs).catch(() => {}); // it learns by itself that it is gone
      socket?.destroy();
    },
  };
}
