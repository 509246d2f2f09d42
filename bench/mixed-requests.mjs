import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import https from 'node:https';
import { clientHeaders } from './wrk.mjs';

/** How many clients there are. */
export const atOnce = 16;
/** The mix of a hundred requests, in a fixed order; the client aborts ten of them. */
const mixture = Object.entries({
  manifestByDigest: 38,
  manifestByTag: 14,
  manifestHead: 10,
  smallBlob: 10,
  noCredentials: 6,
  unknownManifest: 6,
  upload: 6, // three requests in one step
  abortedDownload: 4,
  abortedUpload: 3,
  abortedAtOnce: 3,
});

/**
 * Sends requests one after the other on each of some connections: pulls, pushes, refusals and aborts.
 * @param {import('./rig.mjs').Rig} rig
 * @param {import('./rig.mjs').Subject} subject
 * @param {{ count: number, onTenth: () => void }} options onTenth: called after each tenth of them
 */
export async function sendMixedRequests(rig, subject, { count, onTenth }) {
  const agent = new https.Agent({ keepAlive: true, maxSockets: atOnce, ca: rig.ca });
  const steps = await createSteps(rig, subject, agent);
  const order = interleave(mixture);
  let next = 0;
  let done = 0;
  const send = async () => {
    while (next < count) {
      const step = order[next % order.length];
      next += 1;
      await steps[step]();
      done += 1;
      if (done % Math.ceil(count / 10) === 0) onTenth();
    }
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, send));
  } finally {
    agent.destroy();
  }
}

async function createSteps(rig, subject, agent) {
  const { repository, paths, body: manifest } = await rig.image();
  const large = await rig.blob(64 * 1024 * 1024);
  const small = await rig.blob(1024 * 1024);
  const uploads = `/v2/${repository}/blobs/uploads/`;
  const authorization = { Authorization: rig.credentials.authorization };
  const pull = { ...clientHeaders, ...authorization };

  const open = (method, target, headers) => {
    const { port } = subject;
    return https.request({ host: 'localhost', family: 4, port, path: target, method, headers, agent });
  };
  /** Sends a request, reads all of its answer, and throws unless it is the expected one. */
  const exchange = async (method, target, { headers = authorization, status, bytes, body }) => {
    const request = open(method, target, headers);
    request.end(body);
    const [response] = await once(request, 'response');
    let received = 0;
    for await (const chunk of response) received += chunk.length;
    if (response.statusCode !== status || (bytes !== undefined && received !== bytes)) {
      throw new Error(
        `${subject.name} answered ${response.statusCode} with ${received} bytes to ${method} ${target}`,
      );
    }
    return response.headers;
  };
  const startUpload = async () => {
    const { location } = await exchange('POST', uploads, { status: 202, body: '' });
    const { pathname, search } = new URL(location, `https://localhost:${subject.port}`);
    return `${pathname}${search}`;
  };
  /** Begins a request, and aborts it at `when`. */
  const leave = async (request, when) => {
    request.on('error', () => {}); // its own abort
    await when(request);
    request.destroy();
  };
  return {
    manifestByDigest: () =>
      exchange('GET', paths.digest, { headers: pull, status: 200, bytes: manifest.length }),
    manifestByTag: () => exchange('GET', paths.tag, { headers: pull, status: 200, bytes: manifest.length }),
    manifestHead: () => exchange('HEAD', paths.digest, { headers: pull, status: 200, bytes: 0 }),
    smallBlob: () => exchange('GET', small.path, { status: 200, bytes: small.bytes }),
    noCredentials: () => exchange('GET', paths.digest, { headers: clientHeaders, status: 401 }),
    unknownManifest: () =>
      exchange('GET', `/v2/${repository}/manifests/unknown`, { headers: pull, status: 404 }),
    upload: async () => {
      const blob = randomBytes(16 * 1024);
      const digest = createHash('sha256').update(blob).digest('hex');
      const at = await startUpload();
      const headers = { ...authorization, 'Content-Type': 'application/octet-stream' };
      await exchange('PUT', `${at}&digest=sha256%3A${digest}`, { headers, status: 201, body: blob });
    },
    abortedDownload: () => {
      const request = open('GET', large.path, authorization).end();
      return leave(request, async () => {
        const [response] = await once(request, 'response');
        await once(response, 'data');
      });
    },
    abortedUpload: async () => {
      const at = await startUpload();
      const headers = { ...authorization, 'Transfer-Encoding': 'chunked' };
      return leave(open('PATCH', at, headers), (request) => {
        // Without its end, so that it stays incomplete.
        return new Promise((resolve) => request.write(Buffer.alloc(64 * 1024), resolve));
      });
    },
    abortedAtOnce: () =>
      leave(open('GET', small.path, authorization), (request) => new Promise((sent) => request.end(sent))),
  };
}

/** Spreads each kind evenly. */
function interleave(parts) {
  return parts
    .flatMap(([name, count]) => Array.from({ length: count }, (_, i) => ({ name, at: (i + 0.5) / count })))
    .sort((a, b) => a.at - b.at)
    .map(({ name }) => name);
}
