import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stop } from './processes.ts';
import { freePort, until } from './redis.ts';

/** A real nginx with TLS on a loopback port. */
export type Nginx = { readonly port: number; readonly stop: () => Promise<void> };

export type NginxOptions = {
  readonly certPath: string;
  readonly keyPath: string;
  /** The URL that it forwards to. */
  readonly upstream: string;
  /** Further directives of the server. */
  readonly directives?: readonly string[];
};

/** The directives for an nginx that forwards everything unchanged. */
export const transparent: readonly string[] = [
  'client_max_body_size 0;',
  'proxy_request_buffering off;',
  'proxy_http_version 1.1;',
  'proxy_set_header Host $http_host;',
  'proxy_set_header X-Forwarded-Proto https;',
  'proxy_redirect off;',
];

/** Starts nginx; it is ready when this resolves. */
export async function startNginx(options: NginxOptions): Promise<Nginx> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-nginx-'));
  const port = await freePort();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = [
    // As root, its workers would run as nobody, who cannot enter the folder.
    process.getuid?.() === 0 ? 'user root;' : '',
    'daemon off;',
    'worker_processes 1;',
    `pid ${dir}/pid;`,
    `error_log ${dir}/error.log;`,
    'events {}',
    'http {',
    'access_log off;',
    ...temporary.map((name) => `${name}_temp_path ${dir}/${name};`),
    'server {',
    `listen 127.0.0.1:${port} ssl;`,
    `ssl_certificate ${options.certPath};`,
    `ssl_certificate_key ${options.keyPath};`,
    ...(options.directives ?? transparent),
    `location / { proxy_pass ${options.upstream}; }`,
    '}',
    '}',
  ];
  await writeFile(path.join(dir, 'nginx.conf'), config.join('\n'));
  const file = path.join(dir, 'error.log');
  const args = ['-p', dir, '-c', path.join(dir, 'nginx.conf'), '-e', file];
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` };
  const child = spawn('nginx', args, { stdio: 'ignore', env });
  await until('nginx listens', async () => {
    if (child.exitCode !== null) throw new Error(`nginx ended: ${await readFile(file, 'utf8')}`);
    return isOpen(port);
  });
  return {
    port,
    stop: async () => {
      await stop(child);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => end(true)).on('error', () => end(false));
    const end = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
  });
}
