import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor, type LogLine } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { authorized, exchange } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const traceparent = `00-${traceId}-00f067aa0ba902b7-00`;

describe('ids of requests', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream({
      script: (request) => {
        if (request.startLine.includes('/broken/')) request.socket.destroy();
        else if (request.startLine.includes('/manifests/'))
          request.answer(head('HTTP/1.1 200 OK', 'Content-Type: text/plain', 'Content-Length: 2'), 'ok');
        else void answerOk(request);
      },
    });
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  let count = 0;
  /** Sends a request to a path of its own; gives what upstream got of it, the answer, and its line. */
  const send = async (repository: string, ...lines: string[]) => {
    const path = `/v2/${repository}/${++count}`;
    const answer = await exchange(frontDoor, authorized(`GET ${path}`, ...lines));
    const received = upstream.requests.find(({ startLine }) => startLine.includes(`${path} `));
    assert.ok(received);
    const one = (name: string) => {
      const [value, ...others] = values(received, name);
      assert.deepEqual(others, []);
      return value;
    };
    const line = await frontDoor.logged((entry) => entry['path'] === path);
    return {
      answer,
      line,
      requestId: line['requestId'] as string,
      sent: { id: one('x-request-id'), parent: one('traceparent'), state: one('tracestate') },
    };
  };
  const own = (line: LogLine) => ({ clientRequestId: line['clientRequestId'], traceId: line['traceId'] });

  test('without any from the client all are made, and the line has them', async () => {
    const { requestId, sent, line } = await send('app');
    assert.match(requestId, /^[0-9a-f]{32}$/);
    assert.deepEqual(sent, {
      id: requestId,
      parent: `00-${requestId}-${requestId.slice(0, 16)}-01`,
      state: undefined,
    });
    assert.deepEqual(own(line), { clientRequestId: undefined, traceId: undefined });
  });

  test("a client's are taken over and in the line, beside an id that is ours alone", async () => {
    const lines = [
      'X-Request-Id: build-7.3',
      `traceparent: ${traceparent}`,
      'tracestate: a=1',
      'Tracestate: b=2',
    ];
    const [first, second] = [await send('app', ...lines), await send('app', ...lines)];
    for (const { requestId, sent, line } of [first, second]) {
      assert.match(requestId, /^[0-9a-f]{32}$/);
      assert.deepEqual(sent, {
        id: 'build-7.3',
        parent: `00-${traceId}-${requestId.slice(0, 16)}-00`,
        state: 'a=1,b=2',
      });
      assert.deepEqual(own(line), { clientRequestId: 'build-7.3', traceId });
    }
    assert.notEqual(first.requestId, second.requestId);
    assert.notEqual(first.sent.parent, second.sent.parent);
  });

  test('what is not of their form is neither passed on nor logged', async () => {
    for (const lines of [
      ['X-Request-Id: "},{"level":60', 'traceparent: nothing', 'tracestate: a=1'],
      [`X-Request-Id: ${'x'.repeat(129)}`, `traceparent: ${traceparent}0`],
      ['X-Request-Id: a', 'X-Request-Id: b', `traceparent: ${traceparent}`, `traceparent: ${traceparent}`],
      ['X-Request-Id: \x9b31m', `traceparent: 00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
      ['X_Request_Id: a', 'X-Request-Id:', 'tracestate: a=1'],
    ]) {
      const { requestId, sent, line, answer } = await send('app', ...lines);
      assert.equal(answer.status, 200);
      assert.equal(sent.id, requestId);
      assert.equal(sent.parent, `00-${requestId}-${requestId.slice(0, 16)}-01`);
      assert.equal(sent.state, undefined);
      assert.deepEqual(own(line), { clientRequestId: undefined, traceId: undefined });
    }
  });

  test('Connection cannot name ours away', async () => {
    const { requestId, sent } = await send('app', 'Connection: X-Request-Id, traceparent');
    assert.deepEqual(sent, {
      id: requestId,
      parent: `00-${requestId}-${requestId.slice(0, 16)}-01`,
      state: undefined,
    });
  });

  test("an error's body has our id, and every line about the request has all of them", async () => {
    const { answer, requestId } = await send(
      'broken/app',
      'X-Request-Id: build-8',
      `traceparent: ${traceparent}`,
    );
    assert.equal(answer.status, 502);
    const { errors } = JSON.parse(answer.body.toString()) as { errors: unknown };
    // A text: programs in Go print it as it is, and an object as "map[requestId:…]".
    assert.deepEqual(errors, [
      {
        code: 'BAD_GATEWAY',
        message: 'The registry behind Tidegate did not answer.',
        detail: `request id ${requestId}`,
      },
    ]);
    const warning = await frontDoor.logged(
      (entry) => entry['requestId'] === requestId && entry.msg !== 'request',
    );
    assert.equal(warning['level'], 40);
    assert.deepEqual(own(warning), { clientRequestId: 'build-8', traceId });
  });
});
