import { head } from '../../test/support/http-message.ts';
import {
  startUpstream,
  type ScriptedUpstream,
  type UpstreamRequest,
} from '../../test/support/scripted-upstream.ts';
import { sha256 } from '../../test/support/stored-blobs.ts';

/** What upstream does with its connection after it has said what it has to say. */
export type Ending = 'FIN' | 'RST' | 'silence' | 'stay';

/** What upstream does with one request. */
export type Fault = {
  /** What it sends, one write each. */
  readonly bytes: readonly Buffer[];
  /** `silence` and `stay` leave it open: the first as one that hangs, the second as one that is done. */
  readonly ending: Ending;
  /** Whether it reads the request's body first, as a real registry does; or so many bytes of it at least. */
  readonly readsBody: boolean | number;
  /** Whether it reads what is left of the body after that. */
  readonly drains?: boolean;
};

/** A blob that the upstream always gives rightly, under /v2/healthy/. */
export type HealthyBlob = { readonly target: string; readonly bytes: Buffer };

/** An upstream in which each request names the fault that it meets, and everybody else is served well. */
export type FaultyUpstream = Pick<ScriptedUpstream, 'url' | 'close' | 'refuse'> & {
  /** Decides what a case's requests meet; gives its number, which a request carries as `X-Case: N`, or as /v2/case-N/. */
  plan(fault: Fault | ((request: UpstreamRequest) => Fault)): number;
  /** How many requests of a case have come with this method. */
  seen(id: number, method: string): number;
  /** Frees what is known of a case. */
  forget(id: number): void;
  /** Closes the connections that serve nothing just now, as an upstream may at any moment. */
  closeIdle(): void;
  readonly healthy: readonly HealthyBlob[];
};

const caseOf = ({ head: text }: UpstreamRequest) => /\/case-(\d+)\/|\r\nX-Case: (\d+)\r\n/.exec(text);

export async function startFaultyUpstream(): Promise<FaultyUpstream> {
  const plans = new Map<number, Fault | ((request: UpstreamRequest) => Fault)>();
  const methods = new Map<number, string[]>();
  const idle = new Set<UpstreamRequest['socket']>();
  let lastId = 0;
  const healthy = [100, 5_000, 70_000].map((size) => {
    const bytes = Buffer.alloc(size, `healthy ${size} `);
    return { target: `/v2/healthy/blobs/${sha256(bytes)}`, bytes };
  });

  const serveWell = async (request: UpstreamRequest) => {
    await request.body();
    const blob = healthy.find(({ target }) => request.startLine === `GET ${target} HTTP/1.1`);
    if (blob) request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${blob.bytes.length}`), blob.bytes);
    else request.answer(head('HTTP/1.1 404 Not Found', 'Content-Length: 0'));
    idle.add(request.socket);
  };
  const upstream = await startUpstream({
    keepsRequests: false,
    script: async (request) => {
      const { socket } = request;
      idle.delete(socket);
      const [, inPath, inHeader] = caseOf(request) ?? [];
      const id = Number(inHeader ?? inPath);
      const plan = plans.get(id);
      if (plan === undefined) {
        await serveWell(request);
        return;
      }
      methods.set(id, [...(methods.get(id) ?? []), request.startLine.split(' ')[0] ?? '']);
      const fault = typeof plan === 'function' ? plan(request) : plan;
      if (fault.readsBody === true && !(await request.body()).complete) return;
      for (let left = Number(fault.readsBody); left > 0 && fault.readsBody !== true;)
        left -= (await request.someBody())?.length ?? left;
      for (const piece of fault.bytes) if (piece.length > 0) socket.write(piece);
      if (fault.drains === true) void request.body();
      if (fault.ending === 'FIN') socket.end();
      else if (fault.ending === 'RST') socket.resetAndDestroy();
      else if (fault.ending === 'stay') idle.add(socket);
    },
  });
  return {
    url: upstream.url,
    close: () => upstream.close(),
    refuse: () => upstream.refuse(),
    plan: (fault) => {
      lastId += 1;
      plans.set(lastId, fault);
      return lastId;
    },
    seen: (id, method) => methods.get(id)?.filter((each) => each === method).length ?? 0,
    forget: (id) => {
      plans.delete(id);
      methods.delete(id);
    },
    closeIdle: () => {
      for (const socket of idle) socket.destroy();
      idle.clear();
    },
    healthy,
  };
}
