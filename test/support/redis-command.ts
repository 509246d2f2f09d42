import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { root, run, stop } from './processes.ts';
import { freePort, until } from './redis.ts';

/**
 * Runs the command by which a container starts Redis, here and on loopback. Its password, which is the one variable, has to be asked for,
 * and must stand in no command line.
 */
export async function checkRedisCommand(
  command: readonly string[],
  variable: Readonly<Record<string, string>>,
): Promise<void> {
  const [password = ''] = Object.values(variable);
  const port = String(await freePort());
  const here = command.map((arg) =>
    arg
      .replaceAll('/etc/redis.conf', `${root}deploy/redis.conf`)
      .replace("--bind '*' '-::*'", `--bind 127.0.0.1`)
      .replace(/^requirepass/m, `port ${port}\nbind 127.0.0.1\nrequirepass`),
  );
  const [file = '', ...args] = here;
  const child = spawn(file, args, { stdio: 'ignore', env: { PATH: process.env['PATH'], ...variable } });
  try {
    const ask = async (...words: string[]) => {
      const env = { REDISCLI_AUTH: words[0] === 'auth' ? password : undefined };
      return (await run('redis-cli', ['-p', port, ...words.slice(1)], { env })).stdout;
    };
    await until('Redis answers', async () => {
      assert.equal(child.exitCode, null, 'it ended');
      return (await ask('auth', 'ping')) === 'PONG\n';
    });
    assert.match(await ask('none', 'ping'), /NOAUTH/);
    assert.match(await ask('auth', 'config', 'get', 'maxmemory'), /167772160/);
    const running = await readFile(`/proc/${child.pid ?? 0}/cmdline`, 'utf8');
    assert.match(running, /redis-server/);
    assert.ok(!running.includes(password));
  } finally {
    await stop(child);
  }
}
