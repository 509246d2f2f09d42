import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { presented, startAcmeDoor, stopDoors, untilIssued } from '../../support/acme.ts';
import { startAcmeProxy, type AcmeProxy } from '../../support/acme-proxy.ts';
import { startPebble, type Pebble } from '../../support/pebble.ts';
import { stop } from '../../support/processes.ts';
import { until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

describe(
  'kill -9 between any two steps of an order',
  { skip: unlessInstalled('pebble', 'pebble-challtestsrv'), timeout: 550_000 },
  () => {
    let pebble: Pebble;
    let proxy: AcmeProxy;
    before(async () => {
      pebble = await startPebble({ env: { PEBBLE_AUTHZREUSE: '0' } });
      proxy = await startAcmeProxy(pebble);
    });
    after(async () => {
      await stopDoors();
      await proxy.stop();
      await pebble.stop();
    });

    /** Kills the program at its n-th request. Returns whether it came so far, after another program has finished. */
    const killAt = async (n: number, when: 'before' | 'after'): Promise<boolean> => {
      const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-acme-kill-'));
      const set = [`tls.acme.dir=${dir}/acme`];
      const first = proxy.requests.length;
      const kill = new AbortController();
      const killed = once(kill.signal, 'abort');
      const isIt = () => !kill.signal.aborted && proxy.requests.length - first === n;
      proxy.intercept(() => {
        if (when === 'before' && isIt()) kill.abort();
        return kill.signal.aborted ? { status: 503 } : null;
      });
      proxy.edit((_request, body) => {
        if (when === 'after' && isIt()) kill.abort();
        return body;
      });
      const door = await startAcmeDoor({ pebble, directory: proxy.directory, set });
      await Promise.race([killed, untilIssued(door)]);
      await stop(door.process, 'SIGKILL');
      proxy.intercept(() => null);
      proxy.edit((_request, body) => body);
      const again = await startAcmeDoor({ pebble, directory: proxy.directory, set });
      const ofCa = async () => String((await presented(again.port)).issuer.CN).startsWith('Pebble');
      await until('there is a certificate of the CA', ofCa, 60_000);
      const certificate = await presented(again.port, { ca: await pebble.root() });
      assert.equal(certificate.subjectaltname, 'DNS:registry.example.com');
      await again.stop();
      const asked = proxy.requests.slice(first);
      const count = (at: string) => asked.filter((request) => request.path === at).length;
      assert.ok(count('/order-plz') <= 2, `${count('/order-plz')} orders`);
      const left = await readdir(path.join(dir, 'acme'));
      assert.equal(left.filter((name) => name.startsWith('account-')).length, 1);
      assert.ok(!left.includes('order.json'), left.join());
      const account = left.find((name) => name.startsWith('account-')) ?? '';
      assert.match(await readFile(path.join(dir, 'acme', account), 'utf8'), /"url": "https:/);
      await rm(dir, { recursive: true });
      return kill.signal.aborted;
    };

    for (const when of ['before', 'after'] as const)
      test(`${when} each request to the CA: the next program goes on, with the same account`, async () => {
        let n = 1;
        while (await killAt(n, when)) n += 1;
        assert.ok(n > 8, `only ${n} steps`);
      });
  },
);
