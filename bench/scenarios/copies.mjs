import fs from 'node:fs';
import path from 'node:path';
import { run } from '../../src/quickstart/step.mjs';
import { whyNoEngine } from '../docker-engine.mjs';
import { createLayeredImage } from '../layered-image.mjs';
import { atMost } from '../report.mjs';
import { digits, medianRatio, spread, takeTurns } from '../statistics.mjs';

const doors = ['nginx', 'nginx-plain', 'caddy', 'haproxy', 'tidegate'];

/**
 * Pushes and pulls an image with skopeo, and pulls it with a Docker engine.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureCopies(rig, { quick, rounds }) {
  // With 20 layers, nginx hashes the password a hundred times.
  const layers = quick ? 8 : 20;
  const layerMebibytes = quick ? 8 : 51;
  const subjects = [];
  const knowsStorage = await rig.knows(`upstream.storage=${(await rig.registry()).storage}`);
  const wanted = quick ? ['nginx', 'caddy', 'tidegate'] : doors;
  for (const door of [...wanted, ...(knowsStorage ? ['tidegate-storage'] : [])]) {
    subjects.push(await rig.start(door));
  }
  const registry = await rig.registry();
  const image = createLayeredImage(path.join(rig.dir, 'layered-image'), { layers, layerMebibytes });
  const noDocker = quick ? 'this is a quick run' : whyNoEngine();
  const engine = noDocker === undefined ? await rig.engine() : undefined;
  const results = await takeTurns(subjects, rounds, async (subject, round) => {
    image.change();
    const name = `bench/copy-${subject.key}-${round}`;
    const up = await copy(rig, subject, `dir:${image.dir}`, `docker://localhost:${subject.port}/${name}:1`);
    await checkPushed(registry, name, image);
    const pulled = path.join(rig.dir, 'pulled');
    const down = await copy(rig, subject, `docker://localhost:${subject.port}/${name}:1`, `dir:${pulled}`);
    checkPulled(pulled, image);
    fs.rmSync(pulled, { recursive: true });
    const docker = await engine?.pull(`localhost:${subject.port}`, name, rig.credentials.userAndPassword);
    if (docker !== undefined && docker.digest !== image.digest)
      throw new Error(`docker pulled ${docker.digest}`);
    removeFromStorage(registry.storage, name, image);
    return { up, down, docker: docker?.seconds };
  });
  const of = (key, what) => results.get(key).map((each) => each[what]);
  const ratio = (what, key) => medianRatio(of(key, what), of('nginx', what));
  const columns = ['up', 'down', ...(engine === undefined ? [] : ['docker'])];
  return {
    title: `A whole image of ${layers} layers, ${Math.round(image.bytes / 1024 ** 2)} MiB`,
    tables: [
      {
        head: [
          'Front door',
          ...['skopeo copy up, s', 'skopeo copy down, s', 'docker pull, s']
            .slice(0, columns.length)
            .flatMap((what) => [what, '× nginx']),
        ],
        rows: subjects.map(({ key, name }) => [
          name,
          ...columns.flatMap((what) => [spread(of(key, what)), digits(ratio(what, key))]),
        ]),
      },
    ],
    notes: [
      'Wall time of the whole command. Each push is of layers that the registry does not have yet; skopeo and the registry check every digest, and the manifest is compared.',
      engine === undefined
        ? `\`docker pull\` is left out: ${noDocker}.`
        : 'docker pull unpacks the layers too, which is most of its time.',
      '`docker push` is left out: it compresses the layers before it sends them, which is nearly all of its time.',
    ],
    targets: [
      ...['tidegate', ...(knowsStorage ? ['tidegate-storage'] : [])].flatMap((key) => {
        const how = key === 'tidegate' ? '' : ' from storage';
        return [
          ...(how === '' ? [atMost('skopeo copy up, time × nginx', ratio('up', key), 0.95)] : []),
          atMost(`skopeo copy down${how}, time × nginx`, ratio('down', key), 0.95),
          ...(engine === undefined
            ? []
            : [atMost(`docker pull${how}, time × nginx`, ratio('docker', key), 0.95)]),
        ];
      }),
    ],
    raw: Object.fromEntries(results),
  };
}

async function copy(rig, subject, from, to) {
  const side = from.startsWith('docker:') ? 'src' : 'dest';
  const startedAtMs = performance.now();
  await run('skopeo', [
    ...['copy', '--insecure-policy', '--quiet'],
    ...[`--${side}-creds`, rig.credentials.userAndPassword, `--${side}-cert-dir`, trustFolder(rig)],
    ...[from, to],
  ]);
  return (performance.now() - startedAtMs) / 1000;
}

/** skopeo reads every .crt of a folder as a CA, and a .key as a client's key. */
function trustFolder(rig) {
  const dir = path.join(rig.dir, 'trusted');
  fs.mkdirSync(dir, { recursive: true });
  fs.copyFileSync(rig.caFile, path.join(dir, 'ca.crt'));
  return dir;
}

async function checkPushed({ url }, name, image) {
  const answer = await fetch(`${url}/v2/${name}/manifests/1`, {
    headers: { Accept: 'application/vnd.oci.image.manifest.v1+json' },
  });
  const manifest = Buffer.from(await answer.arrayBuffer());
  if (!manifest.equals(image.manifest)) throw new Error(`the manifest of ${name} is another one than pushed`);
  for (const digest of image.digests) {
    const { status } = await fetch(`${url}/v2/${name}/blobs/${digest}`, { method: 'HEAD' });
    if (status !== 200) throw new Error(`${digest} of ${name} is not in the registry`);
  }
}

function checkPulled(dir, image) {
  if (!fs.readFileSync(path.join(dir, 'manifest.json')).equals(image.manifest)) {
    throw new Error('the manifest that was pulled is another one than pushed');
  }
  for (const digest of image.digests) {
    const hex = digest.slice('sha256:'.length);
    const [pulled, pushed] = [dir, image.dir].map((each) => fs.statSync(path.join(each, hex)).size);
    if (pulled !== pushed) throw new Error(`${digest} was pulled with ${pulled} bytes instead of ${pushed}`);
  }
}

/** Removes it: many rounds would fill a disk. */
function removeFromStorage(storage, name, image) {
  const v2 = path.join(storage, 'docker/registry/v2');
  fs.rmSync(path.join(v2, 'repositories', name), { recursive: true });
  for (const digest of image.digests.slice(1)) {
    const hex = digest.slice('sha256:'.length);
    fs.rmSync(path.join(v2, 'blobs/sha256', hex.slice(0, 2), hex), { recursive: true });
  }
}
