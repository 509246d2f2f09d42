import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findProblems, loadText } from './load-text.ts';

const text = (who: string, actions = 'pull', proxies = '') =>
  `listen: { trustedProxies: [${proxies}] }\npolicy:\n  - { who: [${who}], repositories: ["hub/**"], actions: [${actions}] }\n`;

describe('rules for networks', () => {
  for (const [who, actions = 'pull', proxies = ''] of [
    ['"network:10.0.0.0/8"'],
    ['"network:10.0.0.0/8", authenticated, "network:fd00::/8"'],
    ['"network:::ffff:10.0.0.0/104"', ''],
    ['"network:10.0.0.0/8"', 'pull', '192.0.2.7, "fd00::/8"'],
    ['"network:::/0"', 'pull', '10.0.0.1'],
    ['anonymous', 'pull, push', '10.0.0.1'],
  ] as const)
    it(`are taken: ${who} for ${actions || 'nothing'}, beside ${proxies || 'no proxy'}`, async () => {
      const { config } = await loadText(text(who, actions, proxies));
      assert.equal(config.policy?.length, 1);
    });

  const holds = (proxy: string) =>
    new RegExp(
      `^x\\.yml:3: policy\\.who: has addresses of the trusted proxy ${proxy}: every request that the proxy forwards without X-Forwarded-For would count`,
    );
  for (const [who, fault, actions = 'pull', proxies = ''] of [
    ['"network:10.1.2.3/8"', /policy\.who: "10\.1\.2\.3\/8" does not begin with .*: write 10\.0\.0\.0\/8/],
    ['"network:office"', /policy\.who: "office" is neither an address nor a network such as/],
    ['"network:"', /policy\.who: "" is neither an address/],
    ['"network:fe80::1%eth0"', /is neither an address/],
    ['"networks:10.0.0.0/8"', /is nobody: write anonymous, network:CIDR, authenticated/],
    ['"Network:10.0.0.0/8"', /is nobody/],
    ['"network:10.0.0.0/8"', /^x\.yml:3: policy\.actions: may only be pull in a rule for a network/, 'push'],
    ['"network:10.0.0.0/8", authenticated', /policy\.actions: may only be pull/, 'pull, delete'],
    ['user:a, "network:10.0.0.0/8"', /policy\.actions: may only be pull/, 'pull, overwrite'],
    ['anonymous, "network:10.0.0.0/8"', /policy\.who: adds nothing to anonymous, which is every client/],
    ['"network:10.0.0.0/8"', holds('10\\.9\\.8\\.7'), 'pull', '192.0.2.1, 10.9.8.7'],
    ['"network:10.1.0.0/16"', holds('10\\.0\\.0\\.0/8'), 'pull', '10.0.0.0/8'],
    ['"network:10.1.2.3"', holds('10\\.1\\.0\\.1/16'), 'pull', '10.1.0.1/16'],
    ['"network:10.0.0.0/8"', holds('::ffff:10\\.9\\.8\\.7'), 'pull', '"::ffff:10.9.8.7"'],
    ['"network:10.0.0.0/8"', holds('::/0'), 'pull', '"::/0"'],
    ['"network:fd00::/16"', holds('fd00::7'), 'pull', '"fd00::7"'],
    ['"network:10.0.0.0/8"', holds('10\\.9\\.8\\.7'), '', '10.9.8.7'],
  ] as const)
    it(`are refused: ${who} for ${actions || 'nothing'}, beside ${proxies || 'no proxy'}`, async () => {
      const [problem = '', ...others] = await findProblems(text(who, actions, proxies));
      assert.match(problem, fault);
      assert.deepEqual(others, []);
    });

  it('name every fault at once', async () => {
    const found = await findProblems(text('"network:10.0.0.0/8"', 'push', '10.0.0.1'));
    assert.equal(found.length, 2);
  });

  it('are no members of groups', async () => {
    const groups = 'groups: { g: ["network:10.0.0.0/8"] }\n';
    assert.match((await findProblems(groups))[0] ?? '', /^x\.yml:1: groups/);
  });
});
