import fs from 'node:fs';
import path from 'node:path';
import { curl } from '../curl.mjs';
import { atLeast, atMost } from '../report.mjs';
import { takeTurns } from '../statistics.mjs';
import { measureTransfer, transferRatio, transferTable } from '../transfer.mjs';

const doors = ['nginx', 'caddy', 'haproxy', 'registry-tls', 'tidegate'];

/**
 * Uploads a large blob as docker does: POST, a chunked PATCH with all bytes, PUT with the digest. Measures the PATCH.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureUploads(rig, { quick, rounds }) {
  const mebibytes = quick ? 128 : 512;
  const subjects = [];
  for (const door of [...doors, ...(quick ? [] : ['nginx-plain'])]) subjects.push(await rig.start(door));
  const blob = await rig.blob(mebibytes * 1024 * 1024);
  const results = await takeTurns(subjects, rounds, (subject) => uploadBlob(rig, subject, blob));
  const ratio = (what, peer) => transferRatio(results, what, 'tidegate', peer);
  return {
    title: `Blob upload, chunked PATCH of ${mebibytes} MiB`,
    tables: [transferTable(subjects, results)],
    notes: [
      'POST and PUT are not timed; the PUT makes the registry compare the hash. The registry writes the bytes to a file and hashes them on the way, which bounds all of them.',
    ],
    targets: [
      atLeast('upload: speed × nginx', ratio('speed', 'nginx'), 1.2),
      atLeast('upload: speed × Caddy', ratio('speed', 'caddy'), 1.05),
      atMost('upload: CPU × nginx', ratio('cpu', 'nginx'), 1),
    ],
    raw: Object.fromEntries(results),
  };
}

/** Uploads a blob that the registry has already; what is measured is the PATCH. */
export async function uploadBlob(rig, subject, blob) {
  const expect = (status, step, done) => {
    if (done.status !== status) throw new Error(`${subject.name} answered ${done.status} to the ${step}`);
    const location = new URL(done.location, `https://localhost:${subject.port}`);
    return `${location.pathname}${location.search}`;
  };
  const post = ['--request', 'POST', '--data', ''];
  let at = expect(202, 'POST', await curl(rig, subject, `${blob.repositoryPath}/blobs/uploads/`, post));
  const transfer = await measureTransfer(rig, subject, async () => {
    const done = await curl(rig, subject, at, [
      ...['--request', 'PATCH', '--upload-file', blob.file, '--header', 'Transfer-Encoding: chunked'],
      ...['--header', 'Content-Type: application/octet-stream', '--header', 'Expect:'],
    ]);
    at = expect(202, 'PATCH', done);
    // curl counts the chunks' heads too; the PUT below compares what arrived.
    if (done.bytesOut < blob.bytes) throw new Error(`${subject.name} took ${done.bytesOut} bytes`);
    return [{ bytes: blob.bytes, ...done }];
  });
  const put = ['--request', 'PUT', '--data', ''];
  const withDigest = `${at}&digest=${encodeURIComponent(blob.digest)}`;
  expect(201, 'PUT', await curl(rig, subject, withDigest, put));
  // The same blob is stored once, however often it is uploaded: only the sessions would add up.
  const { storage } = await rig.registry();
  const sessions = path.join(storage, 'docker/registry/v2/repositories/bench/app/_uploads');
  if (fs.readdirSync(sessions).length > 0) throw new Error(`an upload is left in ${sessions}`);
  return transfer;
}
