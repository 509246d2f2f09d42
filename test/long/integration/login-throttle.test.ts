import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { hashPassword } from '../../../src/auth/password/password-hash.ts';
import { startFrontDoor, password, user, type FrontDoor } from '../../support/front-door.ts';
import { logIn, retryAfterS, type Login } from '../../support/logins.ts';
import { connectClient, errorCode, exchange, type Response } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';
import { head } from '../../support/http-message.ts';
import { wholeLog } from '../../support/whole-log.ts';

describe('guessing passwords', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
  });
  after(() => upstream.close());
  const withThrottle = async (
    settings: readonly string[],
    use: (frontDoor: FrontDoor) => Promise<void>,
    more: readonly string[] = [],
  ) => {
    const set = [...['answerDelay=0', ...settings].map((setting) => `auth.throttle.${setting}`), ...more];
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set });
    try {
      await use(frontDoor);
    } finally {
      await frontDoor.stop();
    }
  };
  const right = (from = '127.0.0.1'): Login => ({ name: user, password, from });
  const guess = (number: number | string, from = '127.0.0.1', name = user): Login => ({
    name,
    password: `guess ${number}`,
    from,
  });
  let guesses = 0;
  /** Each time with another password. */
  const failOften = async (frontDoor: FrontDoor, times: number, from?: string, name?: string) => {
    for (let i = 0; i < times; i++) {
      const { status } = await logIn(frontDoor, guess(`${(guesses += 1)}`, from, name));
      assert.equal(status, 401, `failure ${i + 1}`);
    }
  };

  test('an answer that is held back keeps nobody else waiting, and is not waited for at the end', () =>
    withThrottle(['addressFailures=1', 'answerDelay=1m'], async (frontDoor) => {
      await failOften(frontDoor, 1);
      const held = await connectClient(frontDoor);
      held.send(head('GET /v2/x HTTP/1.1', 'Host: x', `Authorization: Basic ${btoa(`${user}:guess`)}`));
      assert.equal((await logIn(frontDoor, right('127.0.0.2'))).status, 200);
      assert.ok(!frontDoor.log.some(({ reason }) => reason === 'locked-out'));
      held.leave();
      await frontDoor.logged(({ reason }) => reason === 'locked-out');
    }));

  test('by default ten from one address lock it out for a minute, and no other', () =>
    withThrottle([], async (frontDoor) => {
      await failOften(frontDoor, 10);
      for (const login of [guess(11), guess(0), right(), guess(1, '127.0.0.1', 'nobody')]) {
        const response = await logIn(frontDoor, login);
        assert.equal(response.status, 429);
        assert.equal(errorCode(response), 'TOOMANYREQUESTS');
        const seconds = retryAfterS(response);
        assert.ok(seconds > 30 && seconds <= 60, `${seconds}`);
      }
      assert.equal((await logIn(frontDoor, right('127.0.0.2'))).status, 200);
      assert.equal((await logIn(frontDoor, guess(12, '127.0.0.3'))).status, 401);
      // Asking without a password is no guess, and not refused as one.
      assert.equal((await exchange(frontDoor, head('GET /v2/x HTTP/1.1', 'Host: x'))).status, 401);
      assert.equal((await exchange(frontDoor, head('GET /v2/ HTTP/1.1', 'Host: x'))).status, 200);
      const log = await wholeLog(frontDoor);
      const said = log.filter(({ msg }) => msg.includes('locked out'));
      assert.deepEqual(
        said.map(({ level, client, times, forMs }) => ({ level, client, times, forMs })),
        [{ level: 40, client: '127.0.0.1', times: 1, forMs: 60_000 }],
      );
      const refused = log.filter(({ reason }) => reason === 'locked-out');
      assert.deepEqual(
        refused.map(({ status, code }) => [status, code]),
        Array(4).fill([429, 'TOOMANYREQUESTS']),
      );
    }));

  test('an empty name with an empty password is no guess: Podman, Skopeo and Buildah send it without a login', () =>
    withThrottle(['addressFailures=2', 'repeatFailures=2'], async (frontDoor) => {
      const nobody: Login = { name: '', password: '' };
      for (let i = 0; i < 40; i++) {
        const response = await logIn(frontDoor, nobody);
        assert.equal(response.status, 401, `request ${i + 1}`);
        assert.match(response.body.toString(), /"Credentials are needed: /);
      }
      const refused = () => frontDoor.log.filter(({ status }) => status === 401);
      await until('all are logged', () => Promise.resolve(refused().length === 40));
      assert.ok(refused().every(({ reason }) => reason === 'no-credentials'));
      assert.equal((await logIn(frontDoor, right())).status, 200);
      // Nor is it refused as one, and a password without a name is one.
      await failOften(frontDoor, 2, '127.0.0.9', '');
      assert.equal((await logIn(frontDoor, guess(1, '127.0.0.9', ''))).status, 429);
      assert.equal((await logIn(frontDoor, { ...nobody, from: '127.0.0.9' })).status, 401);
    }));

  test('each further lock-out is twice as long, up to the longest', () =>
    withThrottle(['addressFailures=2', 'lockTime=1s', 'maxLockTime=2s'], async (frontDoor) => {
      const said = () => frontDoor.log.filter(({ msg }) => msg.includes('locked out'));
      for (const number of [1, 2, 3]) {
        await until('it is locked out', async () => {
          await logIn(frontDoor, guess(`${number}, ${(guesses += 1)}`));
          return said().length === number;
        });
        await until('it has ended', async () => {
          const response = await logIn(frontDoor, guess(`${number}, ${(guesses += 1)}`));
          if (response.status === 401) return true;
          assert.equal(response.status, 429);
          assert.ok([1, 2].includes(retryAfterS(response)));
          return false;
        });
      }
      assert.deepEqual(
        said().map(({ times, forMs }) => [times, forMs]),
        [
          [1, 1000],
          [2, 2000],
          [3, 2000],
        ],
      );
      assert.equal((await logIn(frontDoor, right())).status, 200);
    }));

  test('whoever has a right password is not locked out by others at the same address', () =>
    withThrottle(
      ['addressFailures=3'],
      async (frontDoor) => {
        assert.equal((await logIn(frontDoor, right())).status, 200);
        const sinceMs = performance.now();
        await failOften(frontDoor, 3, '127.0.0.1', 'nobody');
        assert.equal((await logIn(frontDoor, guess(1))).status, 429);
        // For longer than a right password is taken without a check.
        await until('two seconds have passed', async () => {
          assert.equal((await logIn(frontDoor, right())).status, 200);
          return performance.now() - sinceMs > 2000;
        });
        assert.equal((await logIn(frontDoor, guess(1))).status, 429);
      },
      ['auth.credentialTtl=1s'],
    ));

  test('strangers who try a name do not lock it out where it has been used', () =>
    withThrottle(['addressFailures=0', 'nameFailures=4'], async (frontDoor) => {
      const home = '127.0.0.50';
      assert.equal((await logIn(frontDoor, right(home))).status, 200);
      await writeFile(frontDoor.htpasswdPath, `${user}:${hashPassword('new')}\n`);
      await frontDoor.logged(({ msg }) => msg.includes('it is in effect'));
      for (let i = 0; i < 4; i++) await failOften(frontDoor, 1, `127.0.0.${60 + i}`);
      const renewed = (from: string) => ({ name: user, password: 'new', from });
      assert.equal((await logIn(frontDoor, renewed('127.0.0.70'))).status, 429);
      assert.equal((await logIn(frontDoor, right(home))).status, 401, 'the old one is wrong now');
      assert.equal((await logIn(frontDoor, renewed(home))).status, 200);
      assert.equal((await logIn(frontDoor, renewed('127.0.0.71'))).status, 200, 'known from now on');
      await frontDoor.logged(({ msg, user: name }) => msg.includes('under one name') && name === user);
    }));

  test('a name that exists is not told from one that does not', () =>
    withThrottle(['addressFailures=0', 'nameFailures=5', 'lockTime=1h'], async (frontDoor) => {
      const answersTo = async (name: string) => {
        const answers: string[] = [];
        for (let i = 0; i < 8; i++) {
          const response: Response = await logIn(frontDoor, guess(i, `127.0.0.${i + 1}`, name));
          const text = response.head + response.body.toString();
          // The clock, and what is random in each answer.
          answers.push(
            text
              .replace(/^Date:.*$/im, '')
              .replace(/"detail":"request id \w+"/, '')
              .replace(/35\d\d|3600/g, 'soon'),
          );
        }
        return answers;
      };
      const known = await answersTo(user);
      assert.deepEqual(await answersTo('nobody'), known);
      assert.match(known[4] ?? '', / 401 /);
      assert.match(known[5] ?? '', / 429 /);
      // A name that nobody has may be a password in the wrong place: the log does not repeat it.
      const said = (await wholeLog(frontDoor)).filter(({ msg }) => msg.includes('under one name'));
      assert.deepEqual(
        said.map((line) => line['user']),
        [user, null],
      );
    }));

  test('what is no name and password is not counted', () =>
    withThrottle(['addressFailures=1', 'nameFailures=1'], async (frontDoor) => {
      for (const value of ['Basic !', 'Bearer abc', 'Token abc', 'Negotiate'])
        for (let i = 0; i < 3; i++) {
          const request = head('GET /v2/x HTTP/1.1', 'Host: x', `Authorization: ${value}`);
          assert.equal((await exchange(frontDoor, request)).status, 401);
        }
      assert.equal((await logIn(frontDoor, right())).status, 200);
    }));

  test('is not what a client does that sends its old password with every request', () =>
    withThrottle(['addressFailures=3', 'repeatFailures=12'], async (frontDoor) => {
      for (let i = 0; i < 12; i++) assert.equal((await logIn(frontDoor, guess('old'))).status, 401);
      const refusal = await logIn(frontDoor, guess('old'));
      assert.equal(refusal.status, 429);
      assert.ok(retryAfterS(refusal) > 0);
      const said = await frontDoor.logged(({ msg }) => msg.includes('the same wrong password'));
      assert.deepEqual([said['client'], said['user']], ['127.0.0.1', user]);
      assert.equal((await logIn(frontDoor, right())).status, 200);
      await failOften(frontDoor, 2);
      assert.equal((await logIn(frontDoor, guess('new'))).status, 429);
    }));

  test('can be left uncounted', () =>
    withThrottle(['addressFailures=0', 'nameFailures=0', 'repeatFailures=0'], async (frontDoor) => {
      await failOften(frontDoor, 40);
      assert.equal((await logIn(frontDoor, right())).status, 200);
    }));

  test('is counted by X-Forwarded-For behind a trusted proxy, and only there', () =>
    withThrottle(
      ['addressFailures=2'],
      async (frontDoor) => {
        const through = async (proxy: string, client: string, login = guess(0)) =>
          (await logIn(frontDoor, { ...login, from: proxy }, `X-Forwarded-For: ${client}`)).status;
        assert.equal(await through('127.0.0.8', '203.0.113.1, 198.51.100.1'), 401);
        assert.equal(await through('127.0.0.9', '203.0.113.2, 198.51.100.1', guess(1)), 401);
        assert.equal(await through('127.0.0.8', '203.0.113.3, 198.51.100.1', right()), 429);
        assert.equal(await through('127.0.0.8', '198.51.100.1, 198.51.100.2', right()), 200);
        // Anyone else is who he or she is, whatever the header says.
        assert.equal(await through('127.0.0.1', '198.51.100.3'), 401);
        assert.equal(await through('127.0.0.1', '198.51.100.4', guess(1)), 401);
        assert.equal(await through('127.0.0.1', '198.51.100.5', guess(2)), 429);
        assert.equal(await through('127.0.0.8', '198.51.100.3'), 401);
      },
      ['listen.trustedProxies=127.0.0.8,127.0.0.9'],
    ));

  test('no password is in what is said about it', () =>
    withThrottle(['addressFailures=2'], async (frontDoor) => {
      await failOften(frontDoor, 2);
      await logIn(frontDoor, guess(3));
      assert.doesNotMatch(JSON.stringify(await wholeLog(frontDoor)), /guess|sesame/);
      assert.match(await readFile(frontDoor.htpasswdPath, 'utf8'), /^alice:/);
    }));
});
