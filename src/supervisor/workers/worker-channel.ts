import type { LoginNotice } from '../../auth/throttle/login-throttle.ts';
import type { V1TokenNotice } from '../../auth/tokens/v1-tokens.ts';
import type { WriteNotice } from '../../cache/stores/shared-memory-store.ts';
import type { WorkerIpc } from '../../system/worker-ipc.ts';
import type { FromWorker, Notice, ToWorker } from './messages.ts';

/** A worker's side of the messages between workers. */
export type WorkerChannel = {
  readonly writes: WorkerIpc<WriteNotice>;
  readonly tokens: WorkerIpc<V1TokenNotice>;
  readonly logins: WorkerIpc<LoginNotice>;
  /** Acts on another worker's message. */
  act(notice: Notice): void;
  /** Call it with each message of these kinds. */
  receive(message: Extract<ToWorker, { kind: 'notice' | 'delivered' }>): void;
};

/** Creates the channel of a worker that does not listen yet; `send` sends to the primary process. */
export function createWorkerChannel(
  send: (message: Extract<FromWorker, { kind: 'publish' | 'acknowledged' }>) => void,
): WorkerChannel {
  const waiting = new Map<number, () => void>();
  const writes = createInbox<WriteNotice>();
  const tokens = createInbox<V1TokenNotice>();
  const logins = createInbox<LoginNotice>();
  let lastNumber = 0;

  const publish = (notice: Notice): Promise<void> =>
    new Promise((resolve) => {
      const number = ++lastNumber;
      waiting.set(number, resolve);
      send({ kind: 'publish', number, notice });
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
    writes: {
      publish: (body) => publish({ topic: 'write', body }),
      subscribe: (listener) => writes.listen(listener),
    },
    tokens: {
      publish: (body) => publish({ topic: 'token', body }),
      subscribe: (listener) => tokens.listen(listener),
    },
    logins: {
      publish: (body) => publish({ topic: 'login', body }),
      subscribe: (listener) => logins.listen(listener),
    },
    act,
    receive: (message) => {
      if (message.kind === 'delivered') {
        waiting.get(message.number)?.();
        waiting.delete(message.number);
        return;
      }
      act(message.notice);
      send({ kind: 'acknowledged', number: message.number });
    },
  };
}

/** Keeps messages that arrive before there is a subscriber: a worker that answers no request yet has time. */
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
