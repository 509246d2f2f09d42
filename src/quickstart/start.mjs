// `npm start`: everything a newcomer needs, then the running Tidegate. Uses only Node's built-in modules until the
// dependencies are installed.
import net from 'node:net';
import path from 'node:path';
import util from 'node:util';
import { findProgram, whyNotInstall } from './debian-packages.mjs';
import { tryLock } from './lock.mjs';
import { ensureBuild, ensureDebianPackages, ensureDependencies, ensureNode, root } from './prepare.mjs';
import { Interruption, PreparationError, step } from './step.mjs';

const usage = `Usage: npm start -- [options]

Installs what is missing, makes a certificate and a first user, finds or starts a registry, and runs Tidegate in front of it.

  --host NAME[,NAME…]  names or addresses under which clients reach this machine (its own name)
  --port N             port to listen on (443, or from 8443 when 443 is not available)
  --mirror SOURCE[,SOURCE…]
                       registries to mirror: docker.io is then HOST/hub/…; SOURCE=URL where one is reached elsewhere
  --mirror-credentials FILE
                       credentials for the sources, lines of SOURCE USER PASSWORD; only for you to read (chmod 600)
  --no-install         do not install Debian packages
  --help               show this text
`;

ensureNode();
const options = parseOptions(process.argv.slice(2));
const { heldBy } = tryLock(path.join(root, 'var/npm-start.lock'));
if (heldBy !== undefined) {
  fail(
    `Another npm start (process ${heldBy}) is running in this checkout: stop it first, or use a second checkout.`,
    1,
  );
}
try {
  await ensureDependencies();
  await ensureBuild();
  const { quickstart } = await import('../../dist/quickstart/quickstart.js');
  const install = { install: options.install };
  await quickstart({
    root,
    hosts: options.hosts,
    port: options.port,
    mirrors: options.mirrors,
    mirrorCredentials: options.mirrorCredentials,
    preparation: {
      step,
      findProgram,
      whyNotInstall: (wanted) => whyNotInstall(wanted, install),
      installPackages: (wanted) => ensureDebianPackages(wanted, install),
    },
  });
} catch (error) {
  if (error instanceof Interruption) process.exit(130);
  if (error instanceof PreparationError || error?.name === 'OperatorError') fail(error.message, 1);
  throw error;
}

function parseOptions(args) {
  let values;
  try {
    ({ values } = util.parseArgs({
      args,
      options: {
        host: { type: 'string', multiple: true },
        port: { type: 'string' },
        mirror: { type: 'string', multiple: true },
        'mirror-credentials': { type: 'string' },
        'no-install': { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }));
  } catch (error) {
    fail(`${error.message}\n${usage}`, 2);
  }
  if (values.help) {
    process.stdout.write(usage);
    process.exit(0);
  }
  const hosts = (values.host ?? []).flatMap((list) => list.split(',')).map((name) => name.trim());
  const wrong = hosts.find((name) => !/^[\w-]+(\.[\w-]+)*$/.test(name) && !net.isIP(name));
  if (wrong !== undefined) {
    fail(`--host "${wrong}" is not a host name or IP address: give it bare, as in registry.example.com.`, 2);
  }
  const port = values.port === undefined ? null : Number(values.port);
  if (port !== null && !(/^\d{1,5}$/.test(values.port) && port >= 1 && port <= 65535)) {
    fail(`--port ${values.port} is not a port: give a number from 1 to 65535.`, 2);
  }
  const mirrors = (values.mirror ?? []).flatMap((list) => list.split(',')).map((name) => name.trim());
  const mirrorCredentials = values['mirror-credentials'] ?? null;
  const noSource = mirrors.find((source) => !/^[a-z0-9][a-z0-9.:-]*(=https?:\/\/[^/\s]+)?$/.test(source));
  if (noSource !== undefined) {
    fail(`--mirror "${noSource}" is no registry: write its name, such as docker.io or quay.io.`, 2);
  }
  if (mirrorCredentials !== null && mirrors.length === 0) {
    fail('--mirror-credentials goes with --mirror.', 2);
  }
  return { hosts, port, mirrors, mirrorCredentials, install: values['no-install'] !== true };
}

function fail(message, status) {
  console.error(message);
  process.exit(status);
}
