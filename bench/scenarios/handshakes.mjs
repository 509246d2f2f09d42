import { runAb } from '../ab.mjs';
import { cpuSeconds, endedChildrenCpuSeconds } from '../process-tree.mjs';
import { atLeast } from '../report.mjs';
import { digits, medianRatio, spread, takeTurns } from '../statistics.mjs';
import { median } from '../statistics.mjs';

const doors = ['nginx', 'caddy', 'haproxy', 'registry-tls', 'tidegate'];
/** One ab uses one core at most. */
const clients = 2;
/** Many, because ab leaves Nagle's algorithm on: a request may wait 40 ms for the acknowledgement of the handshake's end. */
const connectionsEach = 64;

/**
 * Opens TLS connections, each with one request without credentials, which gets a 401.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureHandshakes(rig, { quick, rounds }) {
  const seconds = quick ? 1 : 4;
  const subjects = [];
  for (const door of doors) subjects.push(await rig.start(door));
  const { paths } = await rig.image();
  const results = await takeTurns(subjects, rounds, async (subject) => {
    const own = cpuSeconds(subject.pid);
    const clientsOwn = endedChildrenCpuSeconds();
    const runs = await Promise.all(
      Array.from({ length: clients }, () => connect(subject, paths.digest, seconds)),
    );
    const count = runs.reduce((sum, each) => sum + each.connections, 0);
    return {
      rate: runs.reduce((sum, each) => sum + each.connections / each.seconds, 0),
      cpuMs: ((cpuSeconds(subject.pid) - own) / count) * 1000,
      clientCpuMs: ((endedChildrenCpuSeconds() - clientsOwn) / count) * 1000,
      protocol: runs[0].protocol,
    };
  });
  const of = (key, what) => results.get(key).map((each) => each[what]);
  const protocols = subjects.map(({ key, name }) => `${name} ${of(key, 'protocol')[0]}`);
  return {
    title: 'New TLS connections, each with a 401',
    tables: [
      {
        head: ['Front door', 'Per second', '× nginx', 'CPU-ms each', 'of the client'],
        rows: subjects.map(({ key, name }) => [
          name,
          spread(of(key, 'rate')),
          digits(medianRatio(of(key, 'rate'), of('nginx', 'rate'))),
          digits(median(of(key, 'cpuMs'))),
          digits(median(of(key, 'clientCpuMs'))),
        ]),
      },
    ],
    notes: [
      `${clients} ab (ApacheBench, in C) of ${connectionsEach} connections at a time for ${seconds} s. Each request has a connection of its own, which ab does not resume: it keeps no sessions. Every answer was a 401 and complete. Agreed upon: ${protocols.join('; ')}.`,
    ],
    targets: [
      atLeast('new TLS connections × nginx', medianRatio(of('tidegate', 'rate'), of('nginx', 'rate')), 0.7),
    ],
    raw: Object.fromEntries(results),
  };
}

async function connect(subject, target, seconds) {
  const { completed, refused, ...run } = await runAb(subject, {
    ...{ target, atOnce: connectionsEach },
    limit: ['-t', String(seconds), '-n', '1000000'], // -t alone would set -n to 50,000
  });
  // At the end of the time a connection may be finishing: only the second number counts it.
  const open = refused - completed;
  if (open < 0 || open > connectionsEach)
    throw new Error(`${subject.name}: of ${completed} requests ${refused} were refused instead of all`);
  return { connections: completed, ...run };
}
