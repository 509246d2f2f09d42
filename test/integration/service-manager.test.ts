import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { startFrontDoor, type FrontDoor, type FrontDoorOptions } from '../support/front-door.ts';
import { openNotifySocket } from '../support/notify-socket.ts';
import { until } from '../support/redis.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { answerOk, startUpstream } from '../support/scripted-upstream.ts';

for (const workers of [1, 2]) {
  test(
    `the service manager is told of start, reload, end and life, workers: ${workers}`,
    { timeout: 240_000, skip: unlessInstalled('systemd-notify', 'python3') },
    async (t) => {
      const socket = await openNotifySocket();
      t.after(() => socket.close());
      const frontDoor = await start(t, {
        set: [`workers=${workers}`],
        env: { NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '4000000' },
      });
      assert.deepEqual(await socket.told(1), ['READY=1']);
      const beforeUs = process.hrtime.bigint() / 1000n;
      frontDoor.process.kill('SIGHUP');
      const [, reloading = '', ready] = await socket.told(3);
      const [, atUs = '0'] = /^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(reloading) ?? [];
      assert.ok(BigInt(atUs) >= beforeUs, reloading);
      assert.equal(ready, 'READY=1');
      const lives = () => socket.messages.filter((text) => text === 'WATCHDOG=1').length;
      const before = lives();
      await until('it shows that it lives, again and again', () => Promise.resolve(lives() > before + 1));
      frontDoor.process.kill('SIGTERM');
      assert.deepEqual((await socket.told(4)).slice(3), ['STOPPING=1']);
      assert.equal(await frontDoor.ended, 0);
    },
  );
}

test('a service manager that cannot be told is no reason not to serve', { timeout: 240_000 }, async (t) => {
  const frontDoor = await start(t, {
    set: ['log.level=debug'],
    env: { NOTIFY_SOCKET: '/nonexistent/notify' },
  });
  const line = await frontDoor.logged(({ msg }) => msg === 'the service manager could not be notified');
  assert.equal(line['level'], 20);
});

/** Programs in systemd-notify's place: what makes them, and what is said of them. */
const broken: readonly (readonly [string, (file: string) => Promise<void>, RegExp])[] = [
  ['is a link to itself', (file) => symlink(file, file), /ELOOP/],
  ['hangs and does not heed SIGTERM', hangingProgram, /SIGKILL/],
];
for (const [what, make, reason] of broken) {
  test(`a systemd-notify that ${what} holds nothing up`, { timeout: 240_000 }, async (t) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'tidegate-notify-'));
    t.after(() => rm(folder, { recursive: true }));
    await make(path.join(folder, 'systemd-notify'));
    const frontDoor = await start(t, {
      set: ['log.level=debug', 'workers=2'],
      env: { NOTIFY_SOCKET: '/nonexistent/notify', WATCHDOG_USEC: '400000', PATH: folder },
    });
    const seen = new Set<object>();
    while (seen.size < 3) {
      const isNext = (line: { msg?: unknown }) =>
        line.msg === 'the service manager could not be notified' && !seen.has(line);
      const line = await frontDoor.logged(isNext);
      seen.add(line);
      assert.match(String(line['reason']), reason);
    }
  });
}

/** Starts a front door that ends with the test, also where that fails: else the file would wait for it. */
async function start(t: TestContext, options: Pick<FrontDoorOptions, 'set' | 'env'>): Promise<FrontDoor> {
  const upstream = await startUpstream({ script: answerOk });
  const starting = startFrontDoor({ upstreamUrl: upstream.url, ...options });
  t.after(async () => {
    const started = await starting.catch(() => null);
    await started?.stop();
    await upstream.close();
  });
  return starting;
}

/** The last one is left behind by Tidegate's end, and ends then. */
async function hangingProgram(file: string): Promise<void> {
  const lines = [
    `#!${process.execPath}`,
    "process.on('SIGTERM', () => {});",
    'const parent = process.ppid;',
    'setInterval(() => process.ppid === parent || process.exit(), 200);',
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  await chmod(file, 0o755);
}
