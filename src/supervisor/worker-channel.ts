import type { LoginNotice } from '../auth/throttle/login-throttle.ts';
import type { TokenNotice } from '../auth/tokens/v1-tokens.ts';
import type { WriteNotice } from '../cache/shared-memory-store.ts';
import type { Peers } from '../system/worker-ipc.ts';
import type { FromWorker, Notice, ToWorker } from './messages.ts';

/** A worker's side of what workers let each other know. */
export type PeerChannel = {
  readonly writes: Peers<WriteNotice>;
  readonly tokens: Peers<TokenNotice>;
  readonly logins: Peers<LoginNotice>;
  /** Acts on what another worker told. */
  act(notice: Notice): void;
  /** To be called with each message of these kinds. */
  receive(message: Extract<ToWorker, { kind: 'notice' | 'told' }>): void;
};

/** Creates the channel of a worker that does not listen yet; `send` reaches the primary process. */
export function createPeerChannel(
  send: (message: Extract<FromWorker, { kind: 'tell' | 'noted' }>) => void,
): PeerChannel {
  const waiting = new Map<number, () => void>();
  const writes = createInbox<WriteNotice>();
  const tokens = createInbox<TokenNotice>();
  const logins = createInbox<LoginNotice>();
  let lastNumber = 0;

  const tell = (notice: Notice): Promise<void> =>
    new Promise((resolve) => {
      const number = ++lastNumber;
      waiting.set(number, resolve);
      send({ kind: 'tell', number, notice });
    });
  const act = (notice: Notice): void => {
    switch (notice.topic) {
      case 'write':
        writes.put(notice.body);
        break;
      case 'token':
        tokens.put(notice.body);
        break;
      case 'login':
        logins.put(notice.body);
        break;
    }
  };

  return {
    writes: { tell: (body) => tell({ topic: 'write', body }), onTold: (listener) => writes.listen(listener) },
    tokens: { tell: (body) => tell({ topic: 'token', body }), onTold: (listener) => tokens.listen(listener) },
    logins: { tell: (body) => tell({ topic: 'login', body }), onTold: (listener) => logins.listen(listener) },
    act,
    receive: (message) => {
      if (message.kind === 'told') {
        waiting.get(message.number)?.();
        waiting.delete(message.number);
        return;
      }
      act(message.notice);
      send({ kind: 'noted', number: message.number });
    },
  };
}

/** Keeps what comes before somebody listens: a worker that answers no request yet has time to act. */
function createInbox<Body>() {
  let listener: ((body: Body) => void) | undefined;
  let early: Body[] = [];
  return {
    put: (body: Body): void => {
      if (listener) listener(body);
      else early.push(body);
    },
    listen: (act: (body: Body) => void): void => {
      listener = act;
      for (const body of early) act(body);
      early = [];
    },
  };
}
