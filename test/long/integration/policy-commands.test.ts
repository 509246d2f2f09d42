import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { startFrontDoor, readLogFile } from '../../support/front-door.ts';
import { head } from '../../support/http-message.ts';
import { tidegate } from '../../support/processes.ts';
import { clientHost, exchange } from '../../support/raw-client.ts';
import { freePort, until } from '../../support/redis.ts';
import { answerOk, startUpstream } from '../../support/scripted-upstream.ts';

/** bcrypt of "x" at cost 4. */
const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const policy = `groups: { team: [bob, gone] }
policy:
  - { who: [anonymous, authenticated], repositories: ["public/**"], actions: [pull] }
  - who: [group:team]
    repositories: ["team/**"]
    actions: [pull, push, delete]
  - { who: [user:bob], repositories: ["team/app"], actions: [] }
immutableTags: ["**:v*"]
`;

let folder = '';
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tidegate-policy-'));
  await mkdir(path.join(folder, 'config'));
  await writeFile(path.join(folder, 'config/tidegate.yml'), policy);
  await writeFile(path.join(folder, 'config/htpasswd'), `bob:${hash}\nanonymous:${hash}\n`);
});
after(() => rm(folder, { recursive: true }));

const ask = (...args: readonly string[]) => tidegate(['policy', ...args], { cwd: folder });

describe('policy explain', () => {
  test('says of each rule why, with file and line, and ends with 0 or 1', async () => {
    const allowed = await ask('explain', 'bob', 'push', 'team/app:v1');
    assert.deepEqual([allowed.code, allowed.stderr], [0, '']);
    assert.deepEqual(allowed.stdout.split('\n'), [
      'rule 1 (config/tidegate.yml:3) does not match: team/app matches none of public/**',
      'rule 2 (config/tidegate.yml:4) decides: "group:team" means bob, "team/**" matches team/app; it allows pull, push, delete',
      'the tag v1 is immutable by "**:v*" (config/tidegate.yml:8): to move or delete it needs overwrite; push is enough as long as it does not exist',
      'allowed: bob may push team/app (rule 2)',
      '',
    ]);
    const denied = await ask('explain', 'bob', 'delete', 'team/app:v1');
    assert.equal(denied.code, 1);
    assert.match(denied.stdout, /^denied: bob may delete in team\/app, but not the immutable tag v1/m);
  });

  test('tells a user who is called anonymous from a client without credentials, and knows who can log in', async () => {
    const stranger = await ask('explain', 'anonymous', 'pull', 'other/app');
    assert.equal(stranger.code, 1);
    assert.match(stranger.stdout, /^note: this is about clients without credentials; .* user:anonymous$/m);
    assert.match(stranger.stdout, /^no rule matches, and what no rule matches is denied$/m);
    assert.match(stranger.stdout, /; the answer is 401 UNAUTHORIZED$/m);
    const named = await ask('explain', 'user:anonymous', 'pull', 'other/app');
    assert.match(named.stdout, /^denied: anonymous may do nothing .*; the answer is 404 NAME_UNKNOWN$/m);
    const gone = await ask('explain', 'gone', 'push', 'team/app');
    assert.equal(gone.code, 0);
    assert.match(gone.stdout, /^note: gone cannot log in at all: .*config\/htpasswd has no such user$/m);
  });

  test('says plainly that there is no policy', async () => {
    const { code, stdout } = await ask(
      'explain',
      'bob',
      'push',
      'a',
      '--set',
      'policy=null',
      '--set',
      'groups={}',
    );
    // An empty policy could be a slip, also in a flag.
    assert.equal(code, 1, stdout);
    await writeFile(path.join(folder, 'none.yml'), 'log: { level: info }\n');
    const none = await ask('explain', 'bob', 'push', 'a', '--config', 'none.yml');
    assert.equal(none.code, 0);
    assert.match(none.stdout, /^There is no policy: every verified user may/);
  });

  test('is wrong usage with what is no user, action, repository or tag', async () => {
    for (const args of [
      ['group:x', 'pull', 'a'],
      ['bob', 'fetch', 'a'],
      ['bob', 'pull', 'A'],
      ['bob', 'pull', 'a:-'],
      ['bob', 'pull'],
      ['bob', 'pull', 'a', '--address', '10.1.2.3'],
      ['anonymous', 'pull', 'a', '--address', '10.0.0.0/8'],
    ])
      assert.equal((await ask('explain', ...args)).code, 2, args.join(' '));
  });
});

describe('a client in a network', () => {
  const file = 'networks.yml';
  const options = ['--config', file] as const;
  before(() =>
    writeFile(
      path.join(folder, file),
      `auth: { tokens: off }
policy:
  - { who: ["network:10.0.0.0/8", "user:bob"], repositories: ["hub/**"], actions: [pull] }
  - { who: ["network:0.0.0.0/0", authenticated], repositories: ["open/**"], actions: [pull] }
`,
    ),
  );
  const lines = async (...args: string[]) => {
    const { code, stdout } = await ask('explain', ...args, ...options);
    return [String(code), ...stdout.trimEnd().split('\n')];
  };

  test('is explained by its address', async () => {
    assert.deepEqual(await lines('anonymous', 'pull', 'hub/x', '--address', '::ffff:10.1.2.3'), [
      '0',
      'rule 1 (networks.yml:3) decides: "network:10.0.0.0/8" means a client without credentials in 10.0.0.0/8, 0.0.0.0/0, "hub/**" matches hub/x; it allows pull',
      `note: this is about clients without credentials; the user of that name in ${path.join(folder, 'config/htpasswd')} is user:anonymous`,
      'allowed: a client without credentials in 10.0.0.0/8, 0.0.0.0/0 may pull hub/x (rule 1)',
    ]);
    const elsewhere = await lines('anonymous', 'pull', 'hub/x', '--address', 'fd00::1');
    assert.equal(elsewhere[0], '1');
    assert.ok(elsewhere.includes('note: fd00::1 is in none of the networks of the rules'));
    assert.match(elsewhere.at(-1) ?? '', /^denied: .*; the answer is 401 UNAUTHORIZED$/);
    const unnamed = await lines('anonymous', 'pull', 'hub/x');
    assert.equal(unnamed[0], '1');
    assert.ok(unnamed.some((line) => /^note: .* name another with --address$/.test(line)));
    assert.ok(!(await lines('bob', 'pull', 'hub/x')).some((line) => line.startsWith('note: this is about')));
  });

  test('may have an address in a table', async () => {
    await writeFile(
      path.join(folder, 'networks.test.yml'),
      `- { user: anonymous, address: 10.1.2.3, action: pull, repository: hub/x, allowed: true }
- { user: anonymous, address: 11.1.2.3, action: pull, repository: hub/x, allowed: false }
- { user: anonymous, action: pull, repository: hub/x, allowed: false }
- { user: anonymous, address: "10.1.2.3", action: push, repository: hub/x, allowed: true }
`,
    );
    const { code, stdout } = await ask('test', 'networks.test.yml', ...options);
    assert.equal(code, 1);
    assert.match(
      stdout,
      /^networks\.test\.yml:4: is denied .* in 10\.0\.0\.0\/8, 0\.0\.0\.0\/0 may pull but/,
    );
    assert.match(stdout, /^1 of 4 expectations are not met$/m);
  });

  test('is warned of where everyone is in the network, and where Docker gets no token', async () => {
    const { stdout, stderr } = await tidegate(['config', 'check', ...options], { cwd: folder });
    const said = stdout + stderr;
    assert.match(
      said,
      /^.*networks\.yml:4: policy: rule 2 is for everyone .* any IPv4 address.*write anonymous\.$/m,
    );
    assert.match(said, /networks\.yml:1: auth\.tokens: a rule is for clients without credentials/);
  });
});

describe('policy test', () => {
  test('names what is not met, by line and rule', async () => {
    await writeFile(
      path.join(folder, 'table.yml'),
      `- { user: bob, action: pull, repository: team/app, allowed: true }
- { user: bob, action: push, repository: other/app, allowed: true }
- { user: anonymous, action: pull, repository: public/app, allowed: false }
`,
    );
    const { code, stdout } = await ask('test', 'table.yml');
    assert.equal(code, 1);
    assert.deepEqual(stdout.split('\n'), [
      'table.yml:2: is denied and should be allowed: bob may do nothing in other/app (no rule matches); no rule decides',
      'table.yml:3: is allowed and should be denied: a client without credentials may pull public/app (rule 1); rule 1 (config/tidegate.yml:3) decides',
      '2 of 3 expectations are not met',
      '',
    ]);
  });

  test('reports a table that is none, and none that is there', async () => {
    await writeFile(path.join(folder, 'bad.yml'), '- { user: bob }\n');
    const bad = await ask('test', 'bad.yml');
    assert.deepEqual([bad.code, bad.stdout], [1, '']);
    assert.match(bad.stderr, /^bad\.yml:1: action: is missing; allowed: pull, push, delete, overwrite$/m);
    const missing = await ask('test', 'nowhere.yml');
    assert.deepEqual(
      [missing.code, missing.stderr],
      [1, 'The table nowhere.yml cannot be used: it does not exist.\n'],
    );
  });
});

describe('policy replay', { timeout: 240_000 }, () => {
  test('reads what a front door has logged, in both forms, and says what the rules would change', async (t) => {
    const upstream = await startUpstream({ script: answerOk });
    t.after(() => upstream.close());
    const logs: string[] = [];
    for (const format of ['json', 'ecs']) {
      const port = await freePort();
      const frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        htpasswd: `bob:${hash}\n`,
        set: [
          `listen.port=${port}`,
          `log.accessFile=${folder}/${format}.log`,
          `log.errorFile=${folder}/error.log`,
          `log.format=${format}`,
          'cache.driver=off',
        ],
        port,
      });
      t.after(() => frontDoor.stop());
      const send = (user: string | null, request: string) => {
        const fields =
          user === null ? [] : [`Authorization: Basic ${Buffer.from(`${user}:x`).toString('base64')}`];
        const length = /^(?:GET|HEAD)/.test(request) ? [] : ['Content-Length: 0'];
        return exchange(frontDoor, head(`${request} HTTP/1.1`, `Host: ${clientHost}`, ...fields, ...length));
      };
      await send('bob', 'PUT /v2/team/app/manifests/v1');
      await send('bob', 'PUT /v2/public/app/manifests/1');
      await send('bob', 'PUT /v2/public/app/manifests/2?x=y');
      await send('bob', 'GET /v2/secret/app/tags/list');
      await send(null, 'GET /v2/public/app/tags/list');
      await send(null, 'GET /v2/secret/app/tags/list');
      await send('eve', 'GET /v2/public/app/tags/list');
      const file = path.join(folder, `${format}.log`);
      // Three pushes leave a line of the audit, too.
      await until('ten lines in the log', async () => (await readLogFile(file)).length >= 10);
      logs.push(file);
    }
    const [json = '', ecs = ''] = logs;
    const report = (await ask('replay', json)).stdout;
    assert.deepEqual(report.split('\n'), [
      'requests: 7, in 10 lines; the rules decide about 6 of them',
      'not judged: 1, since it was refused for another reason',
      'The log has no queries, so mounts (from=) and tags in ?tag= cannot be judged,',
      'nor whether a tag existed when it was pushed.',
      'would be refused now: 3',
      '  requests  who  what  where       by',
      '  2         bob  push  public/app  rule 1 (config/tidegate.yml:3)',
      '  1         bob  pull  secret/app  no rule',
      'was refused and would pass now: 1',
      '  requests  who                           what  where       by',
      '  1         a client without credentials  pull  public/app  rule 1 (config/tidegate.yml:3)',
      '',
    ]);
    const fromEcs = await ask('replay', ecs);
    assert.deepEqual([fromEcs.code, fromEcs.stdout], [1, report]);
    const text = (await readLogFile(json)).map((line) => `${JSON.stringify(line)}\n`).join('');
    await writeFile(`${json}.gz`, gzipSync(text));
    const both = await tidegate(['policy', 'replay', `${json}.gz`, '-'], {
      cwd: folder,
      input: `{"msg":\n${text}`,
    });
    assert.match(
      both.stdout,
      /^requests: 14, in 21 lines; [^]*^lines that are not of a log .*: 1$[^]*^ {2}4 +bob +push/m,
    );
  });

  test('ends with 0 where nothing would be refused, and with 1 for a log that cannot be read', async () => {
    const nothing = await tidegate(['policy', 'replay', '-'], {
      cwd: folder,
      input: '{"msg":"listening"}\n',
    });
    assert.equal(nothing.code, 0);
    assert.match(nothing.stdout, /^would be refused now: nothing$/m);
    const missing = await ask('replay', 'nowhere.log');
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /^The log nowhere\.log cannot be read to its end: it does not exist\.$/m);
  });
});

describe('what is hardly meant', { timeout: 240_000 }, () => {
  const warnings = [
    'config/tidegate.yml:1: groups: names "gone", whom the htpasswd file does not have.',
    'config/tidegate.yml:7: policy: rule 3 can never decide: rule 2 comes first for all that it could match.',
  ];

  test('is a warning of config check, which still says ok', async () => {
    const { code, stdout, stderr } = await tidegate(['config', 'check'], { cwd: folder });
    assert.equal(code, 0);
    assert.match(stdout, /^ok\n/);
    assert.deepEqual(
      stderr.trimEnd().split('\n'),
      warnings.map((warning) => `warning: ${warning}`),
    );
  });

  test('is tokens that are off where a rule is for clients without a login', async () => {
    const rule = (who: string) => `policy=[{who: [${who}], repositories: ["**"], actions: [pull, push]}]`;
    for (const [who, tokens, isHardlyMeant] of [
      ['anonymous, authenticated', 'off', true],
      ['anonymous, authenticated', 'auto', false],
      ['authenticated', 'off', false],
    ] as const) {
      const settings = ['--set', rule(who), '--set', `auth.tokens=${tokens}`, '--set', 'groups={}'];
      const { code, stderr } = await tidegate(['config', 'check', ...settings], { cwd: folder });
      assert.equal(code, 0, stderr);
      assert.equal(
        stderr.includes('without tokens Docker cannot pull before a login'),
        isHardlyMeant,
        stderr,
      );
    }
  });

  test('is a line of the log at the start, and when a change brings more', async (t) => {
    const upstream = await startUpstream({ script: answerOk });
    t.after(() => upstream.close());
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      htpasswd: `bob:${hash}\n`,
      config: policy,
    });
    t.after(() => frontDoor.stop());
    const logged = () =>
      frontDoor.log.filter(({ level }) => level === 40).map(({ msg }) => msg.replace(/^.*?: /, ''));
    const expected = warnings.map((warning) => warning.replace(/^.*?: /, ''));
    assert.deepEqual(logged(), expected);
    const configPath = path.join(frontDoor.dir, 'tidegate.yml');
    await writeFile(configPath, policy.replaceAll('push, delete', 'delete'));
    await frontDoor.logged(({ msg }) => msg === 'reloaded');
    assert.deepEqual(logged(), [...expected, 'policy: allows nobody to push.']);
  });
});
