import type { FrontDoor } from '../../test/support/front-door.ts';
import { readBody, values } from '../../test/support/http-message.ts';
import { connectClient, type RawClient } from '../../test/support/raw-client.ts';
import { within } from './within.ts';

/** What a client saw of an answer. */
export type Seen = {
  /** `answer`: whole, upstream's; `error`: whole, Tidegate's own; `cut`: the connection ended before the answer did. */
  readonly kind: 'answer' | 'error' | 'cut';
  /** 0: there was no head. */
  readonly status: number;
  readonly startLine: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  /** From the request's first byte to the answer's last. */
  readonly ms: number;
};

/** One client after another on one connection, which is replaced when it ends. */
export type Lane = {
  /** Sends a request and sees what becomes of it. Rejects when it hangs. */
  ask(...bytes: (string | Buffer)[]): Promise<Seen>;
  leave(): void;
};

/** An error of Tidegate's own has its request id. */
const isOwn = (body: Buffer) => /"detail":"request id \w+"/.test(body.toString());

/** @param longestMs after which an answer hangs */
export function createLane(frontDoor: Pick<FrontDoor, 'port' | 'ca'>, longestMs: number): Lane {
  let client: RawClient | undefined;
  const leave = () => {
    client?.leave();
    client = undefined;
  };
  const receive = async (current: RawClient, method: string): Promise<Omit<Seen, 'ms'>> => {
    let head;
    try {
      head = await current.responseHead();
    } catch {
      return { kind: 'cut', status: 0, startLine: '', headers: [], body: Buffer.alloc(0) };
    }
    const { body, complete } = await readBody(current.reader, head, method);
    const { status, startLine, headers } = head;
    // The body of an error to a HEAD is not sent, and it is upstream's status that tells.
    const own = method === 'HEAD' ? status === 502 || status === 504 : isOwn(body);
    return { kind: !complete ? 'cut' : own ? 'error' : 'answer', status, startLine, headers, body };
  };
  return {
    leave,
    ask: async (...bytes) => {
      const method = /^[A-Z]+/.exec(String(bytes[0]))?.[0] ?? '';
      const startedAtMs = performance.now();
      client ??= await connectClient(frontDoor);
      client.send(...bytes);
      const seen = await within(
        longestMs,
        `the answer to ${String(bytes[0]).split('\r\n')[0] ?? ''}`,
        receive(client, method),
      );
      const isLast = values(seen, 'connection').some((value) => value.toLowerCase() === 'close');
      if (seen.kind === 'cut' || isLast) leave();
      return { ...seen, ms: performance.now() - startedAtMs };
    },
  };
}

/** Puts all cases through so many lanes, each case in the next that is free; gives how many there were. */
export async function inLanes<Case>(
  frontDoor: Pick<FrontDoor, 'port' | 'ca'>,
  { lanes, longestMs }: { readonly lanes: number; readonly longestMs: number },
  cases: Iterable<Case>,
  attempt: (lane: Lane, each: Case) => Promise<void>,
): Promise<number> {
  const rest = cases[Symbol.iterator]();
  let count = 0;
  const work = async () => {
    const lane = createLane(frontDoor, longestMs);
    try {
      for (let next = rest.next(); next.done !== true; next = rest.next()) {
        await attempt(lane, next.value);
        count += 1;
      }
    } finally {
      lane.leave();
    }
  };
  await Promise.all(Array.from({ length: lanes }, work));
  return count;
}
