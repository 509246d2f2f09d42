import fs from 'node:fs';
import path from 'node:path';
import { findProgram } from '../src/quickstart/debian-packages.mjs';
import { run } from '../src/quickstart/step.mjs';
import { startServer } from './processes.mjs';

/** Returns why no Docker engine can run here; undefined if one can. */
export function whyNoEngine() {
  const missing = ['dockerd', 'docker', 'unshare'].filter((program) => findProgram(program) === undefined);
  if (missing.length > 0) return `${missing.join(', ')} is missing`;
  return process.getuid() === 0 ? undefined : 'dockerd wants root';
}

/**
 * Starts a Docker engine that runs no containers, which is enough to pull. It trusts registries on loopback without verifying their
 * certificate. What it leaves in /run is seen by nobody else.
 * @param {string} dir a folder of its own
 */
export async function startEngine(dir) {
  fs.mkdirSync(dir);
  const socket = path.join(dir, 'docker.sock');
  const docker = (...args) =>
    run('docker', ['--config', dir, '--host', `unix://${socket}`, ...args], {
      env: { ...process.env, DOCKER_HOST: undefined, DOCKER_CONTEXT: undefined },
    });
  const engine = [
    ...['dockerd', '--host', `unix://${socket}`, '--storage-driver=overlay2', '--bridge=none'],
    ...['--data-root', path.join(dir, 'data'), '--exec-root', path.join(dir, 'exec')],
    ...['--pidfile', path.join(dir, 'pid'), '--iptables=false', '--ip6tables=false'],
  ];
  const daemon = await startServer({
    name: 'dockerd',
    command: ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /run && exec "$@"', 'sh', ...engine],
    log: path.join(dir, 'log'),
    env: { HOME: dir, NO_PROXY: '*' },
    isReady: () =>
      docker('version').then(
        () => true,
        () => false,
      ),
  });
  return {
    /** Pulls an image; returns its digest and the time. */
    pull: async (host, repository, userAndPassword) => {
      const auth = Buffer.from(userAndPassword).toString('base64');
      fs.writeFileSync(path.join(dir, 'config.json'), JSON.stringify({ auths: { [host]: { auth } } }));
      const image = `${host}/${repository}:1`;
      const startedAtMs = performance.now();
      await docker('pull', '--quiet', image);
      const seconds = (performance.now() - startedAtMs) / 1000;
      const seen = await docker('image', 'inspect', '--format', '{{index .RepoDigests 0}}', image);
      await docker('rmi', '--force', image);
      return { seconds, digest: seen.trim().replace(/^.*@/, '') };
    },
    stop: daemon.stop,
  };
}
