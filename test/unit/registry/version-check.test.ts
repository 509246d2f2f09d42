import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { knownProbes } from '../../../src/registry/known-probes.ts';
import { isChallenged } from '../../../src/registry/version-check.ts';

const none = { challengeAgents: [], openAgents: [] };

describe('isChallenged', () => {
  it('lets every known probe pass by its name and nobody by more of a name', () => {
    for (const probe of knownProbes) {
      const name = probe.replace(/\*$/, '1');
      for (const agent of [name, `${name}/1.0`, `${name} (x)`, name.toUpperCase()])
        assert.equal(isChallenged('auto', 'GET', agent, none), false, agent);
      const others = [`x${name}`, `x ${name}`, `(${name})`];
      if (!probe.endsWith('*'))
        others.push(name.slice(0, -1), `${name}x`, `${name}-x`, `${name}.x`, `${name}_x/1.0`);
      for (const agent of others)
        assert.equal(isChallenged('auto', 'GET', agent, none), true, `${agent} of ${probe}`);
    }
  });

  it('is for GET alone under auto, and for nobody or everyone otherwise', () => {
    assert.equal(isChallenged('auto', 'HEAD', 'docker/1', none), false);
    for (const agent of ['docker/1', 'curl/8', '']) {
      assert.equal(isChallenged('open', 'GET', agent, none), false);
      assert.equal(isChallenged('challenge', 'HEAD', agent, none), true);
    }
  });

  it('knows whom docs/version-check.md names', () => {
    const page = readFileSync(new URL('../../../../docs/version-check.md', import.meta.url), 'utf8');
    const [, list = ''] = /^Tidegate knows these programs[^:]*:([^]*?)\.\n/m.exec(page) ?? [];
    const named = list.split(/,|\band\b/).map((name) => name.replace(/\([^)]*$|[^(]*\)$/g, '').trim());
    assert.deepEqual(
      named.filter((name) => name !== '').toSorted(),
      knownProbes.filter((name) => !name.endsWith('*')).toSorted(),
    );
  });
});
