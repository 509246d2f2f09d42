import { curl } from '../curl.mjs';
import { atMost } from '../report.mjs';
import { describeRounds, digits, median, spread, takeTurns } from '../statistics.mjs';
import { startWrk } from '../wrk.mjs';

const doors = ['nginx', 'caddy', 'haproxy', 'registry-tls', 'tidegate'];
const clients = 16;
/** How long the flood lasts before the download begins, in milliseconds. */
const floodBeforeMs = 1000;

/**
 * Measures a download during a flood of wrong passwords, and the same download without one.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureFlood(rig, { quick, rounds }) {
  const mebibytes = quick ? 128 : 512;
  const subjects = [];
  for (const door of quick ? ['nginx', 'caddy', 'tidegate'] : doors) subjects.push(await rig.start(door));
  const blob = await rig.blob(mebibytes * 1024 * 1024);
  const { paths } = await rig.image();
  const beginning = Buffer.from('bench:').toString('base64');
  const longestSeconds = quick ? 6 : 30;
  const usedRounds = quick ? 1 : rounds;
  /** The seconds that it took, or the time limit. */
  const download = async (subject) => {
    const startedAtMs = performance.now();
    let done;
    try {
      done = await curl(rig, subject, blob.path, ['--max-time', String(longestSeconds)]);
    } catch (error) {
      if (performance.now() - startedAtMs < longestSeconds * 1000) throw error;
      return longestSeconds;
    }
    if (done.status !== 200 || done.bytesIn !== blob.bytes) {
      throw new Error(`${subject.name} answered ${done.status} with ${done.bytesIn} bytes`);
    }
    return (done.endedAtMs - done.startedAtMs) / 1000;
  };
  const results = await takeTurns(subjects, usedRounds, async (subject) => {
    await curl(rig, subject, paths.digest); // its login is known from now on, if the server remembers logins
    const alone = await download(subject);
    const flood = startWrk(subject, {
      target: paths.digest,
      connections: clients,
      mode: ['flood', beginning],
    });
    await new Promise((resolve) => setTimeout(resolve, floodBeforeMs));
    const flooded = await download(subject);
    const { requests, refused, microseconds } = await flood.stop();
    if (refused < requests) throw new Error(`${subject.name} let a wrong password pass`);
    await subject.restart(); // so that it does not go on with what nobody waits for
    return { alone, flooded, ratio: flooded / alone, refusedPerSecond: refused / (microseconds / 1e6) };
  });
  const of = (key, what) => results.get(key).map((each) => each[what]);
  return {
    title: `A download of ${mebibytes} MiB while ${clients} clients send wrong passwords without pause`,
    tables: [
      {
        head: ['Front door', 'Without them, s', 'With them, s', '×', 'Refused per second'],
        rows: subjects.map(({ key, name }) => [
          name,
          spread(of(key, 'alone')),
          spread(of(key, 'flooded')),
          digits(median(of(key, 'ratio'))),
          digits(median(of(key, 'refusedPerSecond'))),
        ]),
      },
    ],
    notes: [
      `${describeRounds(usedRounds)} A download is given up after ${longestSeconds} s.`,
      'Each wrong password is another one, for a name that exists, with a hash of bcrypt cost 10. The hashes, the download and the clients share the cores of this machine: with two of them, whoever hashes on more than one takes time from the download.',
    ],
    targets: [atMost('download under wrong passwords, time ×', median(of('tidegate', 'ratio')), 1.3)],
    raw: Object.fromEntries(results),
  };
}
