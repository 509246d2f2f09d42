import { once } from 'node:events';
import { Agent, createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request on its way: before the registry has it, and when the registry has answered it. */
export type Step = {
  readonly method: string;
  readonly target: string;
  readonly at: 'request' | 'answer';
};

/** Stands before a registry, and lets a test act between the steps of what is asked of it. */
export type SteppedRegistry = {
  readonly url: string;
  /** Every request, as `METHOD target`. */
  readonly requests: readonly string[];
  /** Called at each step, which waits for it; if it throws, the request is cut off there. */
  onStep: (step: Step) => Promise<void> | void;
  close(): Promise<void>;
};

export async function startSteppedRegistry(registryUrl: string): Promise<SteppedRegistry> {
  const agent = new Agent({ keepAlive: true });
  const requests: string[] = [];
  const pass = async (asked: IncomingMessage, body: Buffer): Promise<[IncomingMessage, Buffer]> => {
    const { method = '', url: target = '', headers } = asked;
    await stepped.onStep({ method, target, at: 'request' });
    const passed = request(new URL(target, registryUrl), { method, headers, agent });
    passed.end(body);
    const [answer] = (await once(passed, 'response')) as [IncomingMessage];
    const answered = await collect(answer);
    await stepped.onStep({ method, target, at: 'answer' });
    return [answer, answered];
  };
  const server = createServer((asked, res) => {
    const { method = '', url: target = '' } = asked;
    requests.push(`${method} ${target}`);
    collect(asked)
      .then((body) => pass(asked, body))
      .then(([answer, body]) => {
        res.writeHead(answer.statusCode ?? 0, answer.rawHeaders);
        res.end(method === 'HEAD' ? undefined : body);
      })
      .catch(() => res.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const stepped: SteppedRegistry = {
    url: `http://127.0.0.1:${port}`,
    requests,
    onStep: () => {},
    close: async () => {
      server.close();
      server.closeAllConnections();
      agent.destroy();
      await once(server, 'close');
    },
  };
  return stepped;
}

async function collect(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
