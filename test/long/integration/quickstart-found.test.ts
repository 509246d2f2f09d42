import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import {
  openEngineNamespace,
  unlessNamespaces,
  type EngineNamespace,
} from '../../support/engine-namespace.ts';
import { stop } from '../../support/processes.ts';
import { copyCheckout, launch, skip, type Started } from '../../support/quickstart.ts';
import { until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const url = 'http://127.0.0.1:5000';
const skipFound =
  skip || unlessInstalled('script', 'setpriv', 'ip', 'unshare', 'nsenter') || unlessNamespaces();
const nobody = 65534;
const program = `
process.title = 'a\\u001bstranger';
require('node:http')
  .createServer((request, response) => {
    response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0');
    response.end('{}');
  })
  .listen(5000, '127.0.0.1', () => console.log('listening'));
`;

/** In a network of its own, in which port 5000 is the test's. */
describe(
  'npm start where something answers at the default of upstream.url',
  { skip: skipFound, timeout: 480_000 },
  () => {
    let checkout = '';
    let namespace: EngineNamespace;
    let stranger: ChildProcess | undefined;
    let started: Started | undefined;
    before(async () => {
      [checkout, namespace] = await Promise.all([copyCheckout(), openEngineNamespace()]);
    });
    afterEach(async () => {
      if (stranger) await stop(stranger);
      stranger = undefined;
      await started?.end();
      started = undefined;
    });
    after(async () => {
      await namespace.close();
      rmSync(checkout, { recursive: true, force: true });
    });

    const listenAs = async (uid: number) => {
      const args = [`--reuid=${uid}`, '--clear-groups', process.execPath, '-e', program];
      const [file = '', ...rest] = [...namespace.networkOnly, 'setpriv', ...args];
      stranger = spawn(file, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
      await Promise.race([
        once(stranger.stdout ?? assert.fail(), 'data'),
        once(stranger, 'exit').then(() => assert.fail('it does not listen')),
      ]);
    };
    /** Without a program on PATH that could be the registry, what is not taken ends the start. */
    const begin = (options: { terminal?: boolean; programs?: boolean; env?: NodeJS.ProcessEnv } = {}) => {
      const searched = options.programs === true ? [] : ['/usr/bin/env', 'PATH=/nonexistent'];
      const command = [
        ...searched,
        process.execPath,
        'src/quickstart/start.mjs',
        '--no-install',
        '--port',
        '8443',
      ];
      // Without `exec` a shell may stay between, which takes a Ctrl-C for its own.
      const within =
        options.terminal === true ? ['script', '-qec', `exec ${command.join(' ')}`, '/dev/null'] : command;
      const [file = '', ...args] = [...namespace.networkOnly, ...within];
      started = launch(file, args, checkout, { TIDEGATE_UPSTREAM_URL: undefined, ...options.env });
      return started;
    };
    const question = 'Put Tidegate in front of it? [y/N]';
    const untilAsked = ({ output }: Started) =>
      until('it asks', () => Promise.resolve(output().includes(question)));
    const taken = new RegExp(`^upstream +${url}, which was running already`, 'm');

    it('does not take it where nobody can be asked, says whose it is and what to do, and goes on', async () => {
      await listenAs(nobody);
      const { ready, output, interrupt } = begin({ programs: true });
      await ready;
      assert.match(output(), /It is process \d+ \(.*\) of the user nobody\./);
      assert.doesNotMatch(output(), /\u001b/, 'what a process calls itself is only shown');
      assert.match(
        output(),
        /It is not used, .* config\/tidegate\.yml .* TIDEGATE_UPSTREAM_URL=http:\/\/127\.0\.0\.1:5000/,
      );
      assert.ok(!output().includes(question));
      assert.match(output(), /^upstream +http:\/\/127\.0\.0\.1:(?!5000)\d+, .*registry/m);
      assert.equal(await interrupt(), 0);
    });

    for (const answer of ['\r', 'n\r', 'no, yes\r', '\u0004']) {
      it(`does not take it after ${JSON.stringify(answer)}`, async () => {
        await listenAs(nobody);
        const asked = begin({ terminal: true });
        await untilAsked(asked);
        asked.type(answer);
        assert.equal(await asked.exitCode, 1);
        assert.match(asked.output(), /the one at http:\/\/127\.0\.0\.1:5000 is not used/);
      });
    }

    it('ends at Ctrl-C', async () => {
      await listenAs(nobody);
      const asked = begin({ terminal: true });
      await untilAsked(asked);
      asked.type('\u0003');
      assert.equal(await asked.exitCode, 130);
    });

    it('takes it after a yes, and does not ask again as long as it is the same user', async () => {
      await listenAs(nobody);
      const asked = begin({ terminal: true });
      await untilAsked(asked);
      asked.type('y\r');
      await asked.ready;
      assert.match(asked.output(), taken);
      asked.type('\u0003');
      assert.equal(await asked.exitCode, 0);

      const again = begin();
      await again.ready;
      assert.match(again.output(), taken);
      assert.doesNotMatch(again.output(), /no configuration names/);
      assert.equal(await again.interrupt(), 0);

      if (stranger) await stop(stranger);
      await listenAs(0);
      const other = begin();
      assert.equal(await other.exitCode, 1);
      assert.match(other.output(), /of the user root\.[^]* is not used/);
      await rm(path.join(checkout, 'var/accepted-registry.json'));
    });

    it('takes it without a question where it is configured, in the environment or in the file', async () => {
      await listenAs(nobody);
      const fromEnvironment = begin({ env: { TIDEGATE_UPSTREAM_URL: url } });
      await fromEnvironment.ready;
      assert.match(fromEnvironment.output(), taken);
      assert.equal(await fromEnvironment.interrupt(), 0);
      const file = path.join(checkout, 'config/tidegate.yml');
      await writeFile(file, `upstream: { url: "${url}" }\n`);
      const fromFile = begin();
      await fromFile.ready;
      assert.match(fromFile.output(), taken);
      assert.doesNotMatch(fromFile.output(), /no configuration names/);
      assert.equal(await fromFile.interrupt(), 0);
      await rm(file);
      assert.throws(() => readFileSync(path.join(checkout, 'var/accepted-registry.json')), {
        code: 'ENOENT',
      });
    });
  },
);
