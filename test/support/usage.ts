import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { watched, type Admin } from './admin.ts';
import { startFrontDoor, type FrontDoor, type FrontDoorOptions } from './front-door.ts';
import { head } from './http-message.ts';
import { tidegate } from './processes.ts';
import { connectClient, exchange, clientHost } from './raw-client.ts';
import { until } from './redis.ts';
import { startUpstream, type UpstreamScript } from './scripted-upstream.ts';
import { basicOf } from './tokens.ts';

/** One last use in the answer of `tidegate usage --json`. */
export type Use = { readonly at: string; readonly by: string };
export type Uses = {
  readonly lastPull: Use | null;
  readonly pulls: number;
  readonly lastPush: Use | null;
  readonly pushes: number;
};
export type Usage = {
  readonly asOf: string;
  readonly since: string;
  readonly isRunning: boolean;
  readonly repositories: readonly (Uses & { readonly repository: string })[];
};
export type RepositoryUsage = Omit<Usage, 'repositories'> &
  Uses & {
    readonly tags: readonly (Uses & { readonly tag: string; readonly digest: string | null })[];
    readonly digests: readonly (Uses & { readonly digest: string })[];
  };

/** Settings: the record in a folder of its own, which outlives a Tidegate. */
async function makeStateDir(): Promise<{ path: string; set: string; remove: () => Promise<void> }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'tidegate-state-'));
  return {
    path: folder,
    set: `state.dir=${folder}`,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Runs `tidegate usage`. */
export const usageCommand = (stateDir: string, ...args: string[]) =>
  tidegate(['usage', ...args, '--set', `state.dir=${stateDir}`]);

export async function readUsage(stateDir: string): Promise<Usage> {
  const { code, stdout, stderr } = await usageCommand(stateDir, '--json');
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Usage;
}

export async function readRepositoryUsage(stateDir: string, repository: string): Promise<RepositoryUsage> {
  const { code, stdout, stderr } = await usageCommand(stateDir, repository, '--json');
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as RepositoryUsage;
}

/** The digest that {@link answerManifests} gives a tag. */
export const digestOf = (tag: string) =>
  tag.includes(':') ? tag : `sha256:${createHash('sha256').update(tag).digest('hex')}`;

/** An upstream that has every manifest but those of the tag "missing", and takes every one. */
export const answerManifests: UpstreamScript = async (request) => {
  await request.body();
  const [method = '', target = ''] = request.startLine.split(' ');
  const reference = /\/manifests\/([^?]+)/.exec(target)?.[1];
  if (reference === 'missing') {
    request.answer(head('HTTP/1.1 404 Not Found', 'Content-Length: 0'));
    return;
  }
  const digest = reference === undefined ? [] : [`Docker-Content-Digest: ${digestOf(reference)}`];
  if (method === 'PUT') request.answer(head('HTTP/1.1 201 Created', ...digest, 'Content-Length: 0'));
  else
    request.answer(
      head(
        'HTTP/1.1 200 OK',
        'Content-Type: application/vnd.oci.image.manifest.v1+json',
        ...digest,
        'Content-Length: 2',
      ),
      method === 'HEAD' ? '' : '{}',
    );
};

/** Sends one request; without a login as nobody. Returns the status. */
export async function ask(
  door: Pick<FrontDoor, 'port' | 'ca'>,
  request: string,
  login: readonly [name: string, password: string] | null,
  ...lines: string[]
): Promise<number> {
  const body = request.startsWith('PUT') ? '{}' : '';
  const answer = await exchange(
    door,
    head(
      `${request} HTTP/1.1`,
      `Host: ${clientHost}`,
      ...(login === null ? [] : [basicOf(...login)]),
      ...(body === '' ? [] : ['Content-Type: application/json', `Content-Length: ${body.length}`]),
      ...lines,
    ) + body,
  );
  return answer.status;
}

/** Pulls these tags, one after the other on one connection. */
export async function pullTags(
  door: FrontDoor,
  repository: string,
  tags: Iterable<string>,
  login: readonly [name: string, password: string],
  userAgent = 'curl/8.5.0',
): Promise<void> {
  const client = await connectClient(door);
  for (const tag of tags) {
    client.send(
      head(
        `GET /v2/${repository}/manifests/${tag} HTTP/1.1`,
        `Host: ${clientHost}`,
        basicOf(...login),
        `User-Agent: ${userAgent}`,
      ),
    );
    assert.equal((await client.response('GET')).status, 200);
  }
  client.leave();
}

/** Waits until a metric of the record has this value. */
export async function untilMetric(
  admin: Pick<Admin, 'metrics'>,
  name: string,
  matches: (value: number) => boolean,
): Promise<void> {
  let value: number | undefined;
  await until(`${name} is right`, async () => {
    value = (await admin.metrics()).get(name);
    return value !== undefined && matches(value);
  });
}

/** An upstream, and Tidegates that share a folder for their record. */
export async function openUsage(
  t: TestContext,
  set: readonly string[] = [],
  options: Partial<FrontDoorOptions> = {},
) {
  const state = await makeStateDir();
  const upstream = await startUpstream({ script: answerManifests });
  const start = async (...more: string[]): Promise<FrontDoor> => {
    const door = await startFrontDoor({
      upstreamUrl: upstream.url,
      ...options,
      set: [state.set, ...watched, ...set, ...more],
    });
    t.after(() => door.stop());
    return door;
  };
  t.after(async () => {
    await upstream.close();
    await state.remove();
  });
  return { start, stateDir: state.path, file: path.join(state.path, 'usage/usage.db'), upstream };
}

/** Waits until so many uses are written. */
export async function untilRecorded(stateDir: string, pulls: number, pushes = 0): Promise<Usage> {
  let usage: Usage | undefined;
  await until('the uses are recorded', async () => {
    const { code, stdout } = await usageCommand(stateDir, '--json');
    if (code !== 0) return false;
    usage = JSON.parse(stdout) as Usage;
    const sum = (count: (each: Usage['repositories'][number]) => number) =>
      (usage?.repositories ?? []).reduce((total, each) => total + count(each), 0);
    return sum((each) => each.pulls) >= pulls && sum((each) => each.pushes) >= pushes;
  });
  assert.ok(usage);
  return usage;
}

/** Waits until a tag of team/app is recorded. */
export async function untilTag(stateDir: string, wanted: string): Promise<RepositoryUsage> {
  let usage: RepositoryUsage | undefined;
  await until(`${wanted} is recorded`, async () => {
    const { code, stdout } = await usageCommand(stateDir, 'team/app', '--json');
    if (code !== 0) return false;
    usage = JSON.parse(stdout) as RepositoryUsage;
    return usage.tags.some(({ tag }) => tag === wanted);
  });
  assert.ok(usage);
  return usage;
}
