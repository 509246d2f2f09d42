import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createTestAlert, type Alert, type Channel } from '../../../src/alerts/alert.ts';
import { createDelivery } from '../../../src/alerts/delivery.ts';

const logger = { info: () => {}, warn: () => {}, error: () => {} };
const alert = (host: string): Alert => createTestAlert(host, new Date(0));

/** A channel that fails as often as it is told to, and tells who waits when something has come of an alert. */
function tryChannel(failures: number, retriesMs: readonly number[]) {
  const attempts: string[] = [];
  const results: string[] = [];
  let left = failures;
  let seen = (): void => {};
  const channel: Channel = {
    name: 'webhook',
    send: ({ host }) => {
      attempts.push(host);
      left -= 1;
      return left >= 0 ? Promise.reject(new Error('not now')) : Promise.resolve();
    },
  };
  const delivery = createDelivery({
    channel,
    logger,
    retriesMs,
    onResult: (_channel, result) => {
      results.push(result);
      seen();
    },
  });
  const untilResults = async (count: number) => {
    while (results.length < count) await new Promise<void>((resolve) => (seen = resolve));
  };
  return { delivery, attempts, results, untilResults };
}

describe('createDelivery', () => {
  // Its waits never keep a process alive; the test has to.
  const alive = () => setInterval(() => {}, 60_000);

  it('tries again, keeps the order, and counts', async () => {
    const timer = alive();
    const { delivery, attempts, results, untilResults } = tryChannel(2, [1, 1]);
    delivery.add(alert('a'));
    delivery.add(alert('b'));
    await untilResults(2);
    clearInterval(timer);
    assert.deepEqual(attempts, ['a', 'a', 'a', 'b']);
    assert.deepEqual(results, ['sent', 'sent']);
  });

  it('gives up in the end, and goes on with the next', async () => {
    const timer = alive();
    const { delivery, attempts, results, untilResults } = tryChannel(2, [1]);
    delivery.add(alert('a'));
    delivery.add(alert('b'));
    await untilResults(2);
    clearInterval(timer);
    assert.deepEqual(attempts, ['a', 'a', 'b']);
    assert.deepEqual(results, ['failed', 'sent']);
  });

  it('takes no more than a few, and never throws', () => {
    const { delivery, attempts, results } = tryChannel(Infinity, [60_000]);
    for (let i = 0; i < 60; i += 1) delivery.add(alert('a'));
    delivery.close();
    assert.deepEqual(results, Array<string>(10).fill('dropped'));
    assert.deepEqual(attempts, ['a']);
  });

  it('sends nothing after its end', async () => {
    const { delivery, attempts } = tryChannel(1, [1]);
    delivery.add(alert('a'));
    delivery.close();
    delivery.add(alert('b'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(attempts, ['a']);
  });
});
