import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { hash, secrets, users } from '../../test/support/cases/token-draft.ts';
import { startFrontDoor } from '../../test/support/front-door.ts';
import { head, values } from '../../test/support/http-message.ts';
import {
  clientHost,
  connectClient,
  errorCode,
  type RawClient,
  type Response,
} from '../../test/support/raw-client.ts';
import type { Random } from './random.ts';
import { startRecordingUpstream } from './recording-upstream.ts';
import { repositories, rightsOf, rules, type Need } from './token-model.ts';
import { within } from './within.ts';

/** A request of whoever is to be found out, and what it needs; `mark` finds it again at upstream. */
export type Probe = {
  readonly method: string;
  readonly target: string;
  readonly need: Need;
  /** A blob is to be taken over from there. */
  readonly from: string | null;
};

const digest = `sha256:${'0'.repeat(64)}`;

export function drawProbe(random: Random, mark: string): Probe {
  const repository = random.pick(repositories);
  const base = `/v2/${repository}`;
  const [method, rest, action] = random.pick([
    ['GET', '/manifests/1', 'pull'],
    ['HEAD', '/manifests/1', 'pull'],
    ['GET', '/tags/list', 'pull'],
    ['GET', `/blobs/${digest}`, 'pull'],
    ['POST', '/blobs/uploads/', 'push'],
    ['POST', '/blobs/uploads/', 'push'],
    ['DELETE', `/blobs/${digest}`, 'delete'],
  ] as const);
  const from = method === 'POST' && !random.onceIn(4) ? random.pick(repositories) : null;
  const mount = from === null ? '' : `&mount=${digest}&from=${from}`;
  return { method, target: `${base}${rest}?mark=${mark}${mount}`, need: { repository, action }, from };
}

/** Who a request is taken for, and what the token allows; null: everything that the policy does. */
export type Bearer = {
  readonly who: string | null;
  readonly words: ReadonlySet<string> | null;
};

export const mayDo = ({ who, words }: Bearer, { repository, action }: Need): boolean =>
  rightsOf(who, repository).has(action) && (words === null || words.has(`${repository}:${action}`));

/** Whether a token was treated as invalid; a valid one also gets 401 for what it does not allow. */
const isRefusal = (response: Response): boolean =>
  [400, 431].includes(response.status) ||
  (response.status === 401 && !values(response, 'www-authenticate').join().includes('insufficient_scope'));

/** The real program with two keys that are known, and an upstream that writes down what reaches it. */
export type TokenRig = Awaited<ReturnType<typeof openTokenRig>>;

export async function openTokenRig() {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-tokens-'));
  const keyPaths = secrets.map((_, number) => path.join(dir, `${number}.key`));
  for (const [number, file] of keyPaths.entries())
    await writeFile(file, `${secrets[number]}\n`, { mode: 0o600 });
  const reached = new Map<string, string>();
  let strays = 0;
  const upstream = await startRecordingUpstream(({ target }) => {
    const mark = /[?&]mark=([^&]+)/.exec(target)?.[1];
    if (mark === undefined) strays += 1;
    else reached.set(mark, target);
  });
  const frontDoor = await startFrontDoor({
    upstreamUrl: upstream.url,
    htpasswd: users.map((name) => `${name}:${hash}\n`).join(''),
    config: `auth: { tokens: on, tokenKeys: [${keyPaths.join(', ')}] }\n${rules}`,
    set: [
      'cache.driver=off',
      'log.audit=false',
      'limits.refusedBodyTimeout=100ms',
      'auth.throttle.addressFailures=0',
      'auth.throttle.nameFailures=0',
      'auth.throttle.repeatFailures=0',
    ],
  });
  const idle: RawClient[] = [];

  const exchange = async (
    client: RawClient,
    method: string,
    text: string,
    what: string,
  ): Promise<Response> => {
    client.send(text);
    const response = await within(20_000, what, client.response(method));
    if (values(response, 'connection')[0] === 'close') client.leave();
    else idle.push(client);
    return response;
  };

  /** Sends a request and reads the answer, which is to be a defined one. */
  const send = async (method: string, text: string): Promise<Response> => {
    const what = JSON.stringify(text.slice(0, 3000));
    const used = idle.pop();
    const fresh = async () => exchange(await connectClient(frontDoor), method, text, what);
    // One that was not used for a while may be closed: then, and only then, once more.
    const response = await (used === undefined
      ? fresh()
      : exchange(used, method, text, what).catch(async (error: unknown) => {
          if (!String(error).includes('ended before a response')) throw error;
          used.leave();
          return fresh();
        }));
    if (response.status === 200) return response;
    assert.ok(response.status >= 400 && response.status < 500, `${what} was answered ${response.startLine}`);
    if (method !== 'HEAD') errorCode(response);
    if (response.status === 401)
      assert.equal(values(response, 'www-authenticate').length, 1, `${what} has not one challenge`);
    return response;
  };

  return {
    url: upstream.url,
    send,
    /** Tries a request, and gives in words what was not as it should be; `bearer` null: it is to be refused as a token that is none. */
    tryOut: async (probe: Probe, lines: readonly string[], bearer: Bearer | null): Promise<string | null> => {
      const length = probe.method === 'GET' || probe.method === 'HEAD' ? [] : ['Content-Length: 0'];
      const text = head(
        `${probe.method} ${probe.target} HTTP/1.1`,
        `Host: ${clientHost}`,
        ...lines,
        ...length,
      );
      const response = await send(probe.method, text);
      const { status } = response;
      const mark = /mark=([^&]+)/.exec(probe.target)?.[1] ?? '';
      const arrived = reached.get(mark);
      reached.delete(mark);
      const isAllowed = bearer !== null && mayDo(bearer, probe.need);
      const mounts = arrived?.includes('mount=') === true;
      const mayMount =
        isAllowed && probe.from !== null && mayDo(bearer, { repository: probe.from, action: 'pull' });
      if ((arrived !== undefined) === isAllowed && (status === 200) === isAllowed && mounts === mayMount)
        return bearer !== null || isRefusal(response) ? null : `was answered ${status}, as if it were good`;
      return `was answered ${status}, upstream got ${arrived ?? 'nothing'}, and ${bearer === null ? 'it was to be refused' : `this is ${bearer.who ?? 'nobody'} who may${isAllowed ? '' : ' not'}`}`;
    },
    /** Describes what else was found. */
    close: async (): Promise<string[]> => {
      for (const client of idle) client.leave();
      await frontDoor.stop();
      await upstream.close();
      await rm(dir, { recursive: true, force: true });
      const faults = [...upstream.faults];
      if (strays > 0) faults.push(`upstream got ${strays} requests that nobody sent there`);
      for (const line of frontDoor.log) {
        const text = JSON.stringify(line);
        // A token begins with '{"' in Base64.
        if (Number(line['level']) >= 50 || text.includes('eyJ')) faults.push(`logged: ${text}`);
      }
      return faults;
    },
  };
}
