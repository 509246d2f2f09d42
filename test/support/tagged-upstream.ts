import assert from 'node:assert/strict';
import { head } from './http-message.ts';
import { until } from './redis.ts';
import { startUpstream, type UpstreamRequest } from './scripted-upstream.ts';

const absent = head('HTTP/1.1 404 Not Found', 'Content-Length: 0');

type Answers = Readonly<Record<string, (request: UpstreamRequest) => void>>;

/** An empty registry that answers writes when the test says so. */
export async function startTaggedUpstream() {
  const writes: UpstreamRequest[] = [];
  const state: { answers: Answers } = { answers: {} };
  const upstream = await startUpstream({
    script: async (request) => {
      await request.body();
      const [method = '', target = ''] = request.startLine.split(' ');
      const scripted = state.answers[`${method} ${target}`];
      if (scripted) scripted(request);
      else if (method === 'HEAD' || method === 'GET') request.answer(absent);
      else writes.push(request);
    },
  });
  return {
    upstream,
    writes,
    state,
    asked: () => upstream.requests.map(({ startLine }) => startLine.replace(' HTTP/1.1', '')),
    write: async (count: number) => {
      await until(`${count} writes have come`, () => writes.length >= count);
      return writes[count - 1] ?? assert.fail();
    },
  };
}

export type TaggedUpstream = Awaited<ReturnType<typeof startTaggedUpstream>>;
