import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { copyCertificate } from './certificate-files.ts';
import { stop } from './processes.ts';
import { freePort } from './redis.ts';

/** Let's Encrypt's CA for tests, with a name server that leads every name to this machine. */
export type Pebble = {
  readonly directory: string;
  /** PEM of the CA to trust for the directory's server. */
  readonly caPath: string;
  /** Certificate and key of that server, for one that stands before it. */
  readonly certPath: string;
  readonly keyPath: string;
  /** Leads the checks of port 443 and of port 80 to these ports; of several, each in turn. */
  lead(ports: { readonly tls?: readonly number[]; readonly http?: readonly number[] }): void;
  /** What goes ahead of each connection to port 443, such as a PROXY header. */
  precede(bytes: string): void;
  /** Its log, a line each. */
  readonly log: readonly string[];
  /** PEM of the root that its certificates are trusted by. */
  root(): Promise<string>;
  /** Ends it. */
  kill(): Promise<void>;
  /** Starts it again, without a memory. */
  start(): Promise<void>;
  stop(): Promise<void>;
};

export type PebbleOptions = {
  /** The life of its certificates, in seconds; default: five years. */
  readonly validitySeconds?: number;
  /** By key id, in base64url: without one of them there is no account. */
  readonly externalAccounts?: Readonly<Record<string, string>>;
  /** Such as PEBBLE_WFE_NONCEREJECT. */
  readonly env?: Readonly<Record<string, string>>;
};

/** Listens on a free port of this machine, and leads each connection on. */
async function openRelay(): Promise<{ server: Server; port: number; to: number[]; preceding: string }> {
  const open = new Set<Socket>();
  let count = 0;
  const server = createServer((socket) => {
    const port = relay.to[count++ % relay.to.length];
    if (port === undefined) {
      socket.destroy();
      return;
    }
    const onward = connect(port, '127.0.0.1');
    for (const each of [socket, onward]) {
      open.add(each);
      each
        .on('error', () => {})
        .on('close', () => {
          open.delete(each);
          socket.destroy();
          onward.destroy();
        });
    }
    onward.write(relay.preceding);
    socket.pipe(onward).pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const relay = { server, port: (server.address() as AddressInfo).port, to: [] as number[], preceding: '' };
  server.on('close', () => {
    for (const socket of open) socket.destroy();
  });
  return relay;
}

export async function startPebble(options: PebbleOptions = {}): Promise<Pebble> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-pebble-'));
  await copyCertificate(dir, ['localhost']);
  const [tls, http] = [await openRelay(), await openRelay()];
  const [port, managementPort, dnsPort, dnsManagementPort] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const configPath = path.join(dir, 'pebble.json');
  const externalAccounts = options.externalAccounts ?? {};
  const pebble = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${managementPort}`,
    certificate: path.join(dir, 'server.crt'),
    privateKey: path.join(dir, 'server.key'),
    httpPort: http.port,
    tlsPort: tls.port,
    ocspResponderURL: '',
    externalAccountBindingRequired: Object.keys(externalAccounts).length > 0,
    externalAccountMACKeys: externalAccounts,
    ...(options.validitySeconds === undefined ? {} : { certificateValidityPeriod: options.validitySeconds }),
  };
  await writeFile(configPath, JSON.stringify({ pebble }));
  const log: string[] = [];
  let ca: ChildProcess | undefined;
  const names = await launch(
    'pebble-challtestsrv',
    [
      ...['-defaultIPv4', '127.0.0.1', '-defaultIPv6', '', '-dns01', `127.0.0.1:${dnsPort}`],
      ...['-http01', '', '-https01', '', '-tlsalpn01', '', '-management', `127.0.0.1:${dnsManagementPort}`],
    ],
    {},
    /Starting management server/,
    [],
  );
  const start = async () => {
    const args = ['-config', configPath, '-dnsserver', `127.0.0.1:${dnsPort}`];
    const env = { PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0', ...options.env };
    ca = await launch('pebble', args, env, /ACME directory available/, log);
  };
  await start();
  return {
    directory: `https://localhost:${port}/dir`,
    caPath: path.join(dir, 'ca.crt'),
    certPath: path.join(dir, 'server.crt'),
    keyPath: path.join(dir, 'server.key'),
    lead: (ports) => {
      if (ports.tls !== undefined) tls.to = [...ports.tls];
      if (ports.http !== undefined) http.to = [...ports.http];
    },
    precede: (bytes) => {
      tls.preceding = bytes;
    },
    log,
    root: async () => {
      const asked = request(`https://localhost:${managementPort}/roots/0`, {
        ca: await readFile(path.join(dir, 'ca.crt')),
      }).end();
      const [answer] = (await once(asked, 'response')) as [AsyncIterable<Buffer>];
      const pieces: Buffer[] = [];
      for await (const piece of answer) pieces.push(piece);
      return Buffer.concat(pieces).toString();
    },
    kill: async () => {
      if (ca) await stop(ca, 'SIGKILL');
    },
    start,
    stop: async () => {
      if (ca) await stop(ca, 'SIGKILL');
      await stop(names, 'SIGKILL');
      for (const { server } of [tls, http]) {
        server.close();
        server.emit('close');
      }
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Starts a program, and waits for a line of its log. */
async function launch(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  ready: RegExp,
  log: string[],
): Promise<ChildProcess> {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  await new Promise<void>((resolve, reject) => {
    for (const output of [child.stdout, child.stderr])
      createInterface({ input: output }).on('line', (line) => {
        log.push(line);
        if (ready.test(line)) resolve();
      });
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`${file} ended:\n${log.slice(-5).join('\n')}`)));
  });
  return child;
}
