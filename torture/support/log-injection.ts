import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { copyCertificate } from '../../test/support/certificate-files.ts';
import { findInFile } from '../../test/support/front-door.ts';
import { mainPath, stop } from '../../test/support/processes.ts';
import { connectClient } from '../../test/support/raw-client.ts';
import { answerOk, startUpstream } from '../../test/support/scripted-upstream.ts';
import { atOnce } from './at-once.ts';
import { anyByte, oneOf, repeated } from './grammar.ts';
import { createRandom } from './random.ts';

/** Characters that could end a line, begin another, or act on a terminal. */
const nasty = repeated(
  oneOf(
    anyByte,
    '","level":60,"msg":"forged',
    '\\n{"level":30}',
    '\x1b[2J',
    '\x9b31m',
    '\u0085',
    '\xe2\x80\xa8',
    '"}',
    '\\',
    '\\u000a',
    '%0a%0d',
    '${jndi:ldap://x}',
    '<script>',
    '\xe2\x80\xae',
    '\x08\x08\x08',
    '\x7f',
    '\r\n{"level":30,"msg":"forged"}\r\n',
  ),
  0,
  12,
);
const names = ['bob', 'b"ob', 'b\\ob', 'bób', 'b ob', "b'ob{}", '%0abob', '$(bob)'];
const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2'; // of "x"

/** Sends requests with all that a client can choose, and compares the log: as many lines as requests, each of them whole. */
export async function injectIntoLog(
  format: 'json' | 'ecs' | 'pretty',
  seed: number,
  count: number,
): Promise<number> {
  const upstream = await startUpstream({ script: answerOk });
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-log-'));
  await copyCertificate(path.join(dir, 'certs'), ['localhost']);
  await writeFile(path.join(dir, 'htpasswd'), names.map((name) => `${name}:${hash}\n`).join(''));
  const errorFile = path.join(dir, 'error.log');
  const settings = [
    ...[
      'listen.host=127.0.0.1',
      'listen.port=0',
      'workers=1',
      'admin.port=',
      'log.audit=false',
      'cache.driver=off',
    ],
    ...['tls.cert=certs/server.crt', 'tls.key=certs/server.key', 'auth.htpasswd=htpasswd'],
    ...['auth.throttle.addressFailures=0', 'auth.throttle.nameFailures=0', 'auth.throttle.repeatFailures=0'],
    ...[`upstream.url=${upstream.url}`, `log.format=${format}`, `log.errorFile=${errorFile}`],
  ];
  const args = [mainPath, 'serve', ...settings.flatMap((setting) => ['--set', setting])];
  const child = spawn(process.execPath, args, { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let output = '';
    child.stdout.setEncoding('latin1').on('data', (text: string) => (output += text));
    const says = (line: Readonly<Record<string, unknown>>) => JSON.stringify(line).includes('"listening"');
    const died = once(child, 'exit').then(() => Promise.reject(new Error('serve ended before it was ready')));
    const listening = await Promise.race([findInFile(errorFile, says), died]);
    died.catch(() => {});
    const port = Number(/port":(\d+)/.exec(JSON.stringify(listening))?.[1]);
    const ca = await readFile(path.join(dir, 'certs/ca.crt'), 'utf8');
    const answered: number[] = [];
    const random = createRandom(seed);
    await atOnce(16, Array(count).keys(), async (number) => {
      const one = random.fork(number);
      // With a control character in a field Node's parser refuses the whole; a name within Base64 and an encoded path can have any.
      const text = () => nasty(one).replace(/[^\t\x20-\x7e\x80-\xff]/g, '');
      const name = one.pick([...names, nasty(one)]);
      const token = Buffer.from(`${name}:${one.pick(['x', 'y'])}`).toString('base64');
      const query = text().replace(/[^\x21\x22\x24-\x7e]/g, '');
      // Encoded control characters, slashes and backslashes are refused; most should get further.
      const decent = () => encodeURIComponent(text().replace(/[\t%\\/]/g, ''));
      const place = one.pick([
        ...[decent, decent, decent],
        () => encodeURIComponent(nasty(one)),
        () => text().replace(/[^\x21\x24-\x3e\x40-\xff]/g, ''),
      ])();
      const client = await connectClient({ port, ca });
      client.send(
        `GET /v2/n${number}/${place}?${query} HTTP/1.1\r\nHost: a\r\nUser-Agent: ${text()}\r\n` +
          `X-Request-Id: ${text()}\r\nX-Forwarded-For: ${text()}\r\nReferer: ${text()}\r\n` +
          `Authorization: Basic ${token}\r\nConnection: close\r\n\r\n`,
      );
      if (/^HTTP\/1\.1 (?!400)/.test((await client.rest()).toString('latin1'))) answered.push(number);
    });
    await stop(child, 'SIGINT');
    assert.ok(4 * answered.length > count, `${answered.length} of ${count} were answered: nothing was tried`);
    judge(format, output, answered);
    return count;
  } finally {
    await stop(child, 'SIGINT');
    await upstream.close();
    await rm(dir, { recursive: true, force: true });
  }
}

function judge(format: string, output: string, answered: readonly number[]): void {
  const text = Buffer.from(output, 'latin1').toString('utf8');
  assert.ok(text.endsWith('\n'));
  // In the text form, the program itself writes colours.
  const plain = format === 'pretty' ? text.replace(/\x1b\[\d+m/g, '') : text;
  assert.doesNotMatch(plain.replaceAll('\n', ''), /[\p{Cc}\u2028-\u202e\u2066-\u2069]/u);
  const times = new Map<number, number>();
  for (const line of plain.split('\n').slice(0, -1)) {
    if (format === 'pretty') {
      assert.match(
        line,
        /^\[\S+\] (?:INFO|WARN): [a-z]/i,
        'a line of which the program has not written the beginning',
      );
    } else {
      const record = JSON.parse(line) as Readonly<Record<string, unknown>>;
      const level = record['level'] ?? record['log.level'];
      assert.ok(level === 30 || level === 40 || level === 'info' || level === 'warn', line);
      assert.doesNotMatch(String(record['msg'] ?? record['message']), /^forged/, line);
    }
    const number = Number(/"\/v2\/n(\d+)\//.exec(line)?.[1] ?? NaN);
    if (!Number.isNaN(number)) times.set(number, (times.get(number) ?? 0) + 1);
  }
  const repeated = [...times].filter(([, count]) => count !== 1);
  assert.deepEqual(repeated, [], 'requests with more than one line');
  const missing = answered.filter((number) => !times.has(number));
  assert.deepEqual(missing, [], 'requests without a line');
}
