import { loadManifest } from '../manifest-load.mjs';
import { memoryMiB } from '../process-tree.mjs';
import { atLeast, atMost } from '../report.mjs';
import { digits, medianRatio, spread, takeTurns } from '../statistics.mjs';

/** How many keep-alive connections send requests at the same time. */
const connections = 32;
const doors = [
  'nginx-plain',
  'tidegate',
  'tidegate-redis',
  'tidegate-off',
  'nginx-open',
  'caddy',
  'haproxy-plain',
  'nginx',
];
/** The others have no cache; only with one does it matter whether a pull is by tag or digest. */
const doorsByTag = ['nginx-plain', 'tidegate', 'tidegate-redis'];

/**
 * Pulls one manifest, with name, password and an Accept header.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureManifests(rig, { quick, rounds }) {
  const seconds = quick ? 1 : 5;
  const warmUpSeconds = quick ? 2 : 10; // afterwards code is compiled and caches are filled
  const slowSeconds = quick ? 2 : 5; // for a server with a few answers a second
  const subjects = [];
  for (const door of doors) subjects.push(await rig.start(door));
  const manifest = await rig.image();
  const load = async (subject, target, forSeconds) => {
    const { ca, credentials } = rig;
    const { authorization } = credentials;
    const options = { target, connections, seconds: forSeconds, authorization, ca, manifest };
    const result = await loadManifest(subject, options);
    return result.requests / (result.microseconds / 1e6);
  };
  for (const subject of subjects)
    if (!subject.hashesEachRequest) await load(subject, manifest.paths.digest, warmUpSeconds);
  const results = await takeTurns(subjects, rounds, async (subject) => {
    subject.takeLog();
    const digest = await load(
      subject,
      manifest.paths.digest,
      subject.hashesEachRequest ? slowSeconds : seconds,
    );
    const tag =
      !quick && doorsByTag.includes(subject.key) ? await load(subject, manifest.paths.tag, seconds) : null;
    const { hits } = subject.takeLog();
    const { rss } = memoryMiB(subject.pid);
    // Otherwise it would still be busy during the next measurement.
    if (subject.hashesEachRequest) await subject.restart();
    return { digest, tag, hits, rss };
  });
  const of = (key, kind) => results.get(key).map((each) => each[kind]);
  const ratio = (kind, key, peer) => medianRatio(of(key, kind), of(peer, kind));
  const cells = (key, kind) =>
    of(key, kind)[0] === null ? ['–', '–'] : [spread(of(key, kind)), digits(ratio(kind, key, 'nginx-plain'))];
  /** The lowest share of hits: a measurement of the cache must consist of hits. */
  const hits = (key) =>
    of(key, 'hits')[0] === null ? 'no cache' : `${(Math.min(...of(key, 'hits')) * 100).toFixed(1)} %`;
  return {
    title: `Manifest GET, ${connections} keep-alive connections`,
    tables: [
      {
        head: [
          'Front door',
          'By digest, per second',
          '× the first',
          'By tag, per second',
          '× the first',
          'Hits',
        ],
        rows: subjects.map(({ key, name }) => [
          name,
          ...cells(key, 'digest'),
          ...cells(key, 'tag'),
          hits(key),
        ]),
      },
    ],
    notes: [
      `wrk for ${seconds} s, after ${warmUpSeconds} s that are not counted; a manifest of ${manifest.body.length} bytes; bcrypt cost 10 unless the name says otherwise. No answer but 200 is accepted, all bytes are counted, answers before and after are compared with the manifest.`,
      'nginx caches with `proxy_cache` for as long as Tidegate does. nginx and HAProxy remember no passwords: with plain-text ones they are a bound, not a proposal. HAProxy with bcrypt does as nginx with bcrypt does, one hash a request.',
    ],
    targets: [
      atLeast('manifests × nginx with bcrypt', ratio('digest', 'tidegate', 'nginx'), 500),
      atLeast('manifests × Caddy', ratio('digest', 'tidegate', 'caddy'), 25),
      atLeast(
        'manifests × nginx with plain-text passwords',
        ratio('digest', 'tidegate', 'nginx-plain'),
        0.75,
      ),
      atLeast(
        'manifests from Redis × nginx with plain-text passwords',
        ratio('digest', 'tidegate-redis', 'nginx-plain'),
        0.65,
      ),
      atLeast(
        'manifests with the cache off × nginx without passwords and cache',
        ratio('digest', 'tidegate-off', 'nginx-open'),
        1,
      ),
      atMost('RSS after them', Math.max(...of('tidegate', 'rss')), 220, ' MiB'),
    ],
    raw: Object.fromEntries(results),
  };
}
