import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { documentedClaims } from '../support/cases/job-claims.ts';
import { startFrontDoor } from '../support/front-door.ts';
import {
  audience,
  goodClaims,
  signingKey,
  signToken,
  startIssuer,
  type Issuer,
  type Json,
} from '../support/issuer.ts';
import { askAs } from '../support/machine-tokens.ts';
import { root } from '../support/processes.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

type System = keyof typeof documentedClaims;
type Job = { name: string; claims?: Json; push: number; pull: number };

/** What comes of a push and of a pull by jobs, under each example. */
const jobs: Readonly<Record<System, { text: string; jobs: readonly Job[] }>> = {
  github: {
    text: 'job:github acme/app@refs/heads/main',
    jobs: [
      { name: 'a push to main', push: 200, pull: 200 },
      { name: 'a release', claims: { ref: 'refs/tags/v1.2', ref_type: 'tag' }, push: 200, pull: 200 },
      { name: 'a schedule', claims: { event_name: 'schedule' }, push: 200, pull: 200 },
      { name: 'a push to a branch', claims: { ref: 'refs/heads/fix/1' }, push: 403, pull: 200 },
      {
        name: 'a pull request',
        claims: { event_name: 'pull_request', ref: 'refs/pull/7/merge', head_ref: 'fix', base_ref: 'main' },
        push: 403,
        pull: 200,
      },
      { name: 'pull_request_target', claims: { event_name: 'pull_request_target' }, push: 401, pull: 401 },
      { name: 'workflow_run', claims: { event_name: 'workflow_run' }, push: 401, pull: 401 },
      { name: 'issue_comment', claims: { event_name: 'issue_comment' }, push: 401, pull: 401 },
      { name: 'no event', claims: { event_name: undefined }, push: 401, pull: 401 },
      { name: "a stranger's repository", claims: { repository_owner_id: '99' }, push: 401, pull: 401 },
    ],
  },
  gitlab: {
    text: 'job:gitlab acme/app@main',
    jobs: [
      { name: 'a protected branch', push: 200, pull: 200 },
      {
        name: 'a protected tag',
        claims: { ref: 'v1', ref_type: 'tag', ref_path: 'refs/tags/v1' },
        push: 200,
        pull: 200,
      },
      { name: 'another branch', claims: { ref: 'fix', ref_protected: 'false' }, push: 403, pull: 200 },
      {
        name: 'a merge request from a fork',
        claims: {
          namespace_id: '99',
          project_path: 'stranger/app',
          pipeline_source: 'merge_request_event',
          ref_protected: 'false',
        },
        push: 401,
        pull: 401,
      },
      {
        name: 'a merge request',
        claims: { pipeline_source: 'merge_request_event', ref_protected: 'false' },
        push: 401,
        pull: 401,
      },
      { name: 'another group', claims: { namespace_id: '720' }, push: 401, pull: 401 },
    ],
  },
  kubernetes: {
    text: 'job:kubernetes system:serviceaccount:builds:pusher',
    jobs: [
      { name: 'the service account that pushes', push: 200, pull: 200 },
      {
        name: 'another one there',
        claims: { sub: 'system:serviceaccount:builds:default' },
        push: 403,
        pull: 200,
      },
      { name: 'one elsewhere', claims: { sub: 'system:serviceaccount:other:pusher' }, push: 401, pull: 401 },
    ],
  },
};

const read = (file: string) => readFileSync(`${root}deploy/keyless/${file}`, 'utf8');

describe('examples of keyless CI', { timeout: 240_000 }, () => {
  const key = signingKey('one');
  let upstream: ScriptedUpstream;
  let issuer: Issuer;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    issuer = await startIssuer([key]);
  });
  after(async () => {
    await issuer.stop();
    await upstream.close();
  });

  for (const [system, { text, jobs: cases }] of Object.entries(jobs) as [System, (typeof jobs)[System]][])
    test(`${system}: each job may do what the example says, and no more`, async () => {
      // The example as it is, but for the issuer's place.
      const config = read(`${system}/policy.yml`)
        .replace(/issuer: .*/, `issuer: ${issuer.url}\n      ca: ${issuer.caPath}`)
        .replace(/^ *jwks: .*\n *ca: .*\n/m, '');
      const door = await startFrontDoor({ upstreamUrl: upstream.url, config });
      try {
        for (const { name, claims, push, pull } of cases) {
          const token = signToken(key, goodClaims(issuer.url, documentedClaims[system](claims)));
          const ask = async (request: string) => (await askAs(door, ['oidc', token], request)).status;
          assert.equal(await ask('PUT /v2/acme/app/manifests/1'), push, `${name}: push`);
          assert.equal(await ask('GET /v2/acme/app/manifests/1'), pull, `${name}: pull`);
          assert.equal(
            await ask('GET /v2/other/app/manifests/1'),
            pull === 200 ? 404 : 401,
            `${name}: elsewhere`,
          );
          assert.equal(
            await ask('DELETE /v2/acme/app/manifests/1'),
            pull === 200 ? 403 : 401,
            `${name}: delete`,
          );
        }
        const line = await door.logged((entry) => entry.msg === 'request' && entry['method'] === 'PUT');
        assert.equal(line['user'], text);
      } finally {
        await door.stop();
      }
    });

  test('ask for the audience that their policy wants, and log in as oidc', () => {
    const files = ['github/build.yml', 'gitlab/gitlab-ci.yml', 'kubernetes/job.yml'];
    for (const file of files) {
      const content = read(file);
      assert.ok(content.includes(audience), file);
      assert.match(content, /(?:-u|--username) oidc --password-stdin/, file);
      assert.ok(
        parseAllDocuments(content).every(({ errors }) => errors.length === 0),
        file,
      );
      const { auth } = parse(read(file.replace(/\/.*/, '/policy.yml'))) as {
        auth: { oidc: { audience: string }[] };
      };
      assert.deepEqual(
        auth.oidc.map((one) => one.audience),
        [audience],
      );
    }
    assert.match(read('github/build.yml'), /id-token: write/);
    assert.doesNotMatch(read('github/build.yml'), /pull_request_target/);
  });
});
