import { randomBytes } from 'node:crypto';
import { readdir, readlink, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { findAdmin } from '../../test/support/admin.ts';
import { createCacheClient } from '../../test/support/cache-client.ts';
import { digestOf, pushBlob } from '../../test/support/cache-load.ts';
import { basic, type FrontDoor, type LogLine } from '../../test/support/front-door.ts';
import { run } from '../../test/support/processes.ts';
import { until } from '../../test/support/redis.ts';
import { workerPids } from '../../test/support/workers.ts';
import type { Trial } from '../trial.ts';
import type { Bystander } from './bystander.ts';
import { createLoadClient } from './load-client.ts';
import { basicOf } from './soak-load.ts';

export type DescriptorFaultsPlace = {
  readonly frontDoor: FrontDoor;
  /** It pulls over a connection that it had before, and may be told to come again. */
  readonly bystander: Bystander;
  /** The lines of the htpasswd file. */
  readonly users: string;
  /** Where blobs are read from. */
  readonly storageDir: string;
};

const isShort = ({ msg }: LogLine) => msg.startsWith('no file descriptor is left');
const isRelieved = ({ msg }: LogLine) => msg === 'there are file descriptors again';

export function createDescriptorFaults(place: DescriptorFaultsPlace): Trial[] {
  const { frontDoor, bystander, users, storageDir } = place;
  const count = async (pid: number) => (await readdir(`/proc/${pid}/fd`)).length;
  const limit = async (pid: number, files: number) => {
    const done = await run('prlimit', ['--pid', String(pid), `--nofile=${files}:`]);
    if (done.code !== 0) throw new Error(done.stderr);
  };
  /** Leaves each worker so many descriptors, does something, and gives them back. */
  const withFew = async (spare: number, act: () => Promise<void>) => {
    const pids = await workerPids(frontDoor);
    try {
      for (const pid of pids) await limit(pid, (await count(pid)) + spare);
      await act();
    } finally {
      for (const pid of pids) await limit(pid, 4096);
    }
    if (String(await workerPids(frontDoor)) !== String(pids)) throw new Error('a worker has ended');
  };
  /** Has 150 connections that say nothing, again and again: what becomes free meanwhile is taken, too. What it gives ends that. */
  const occupy = async (): Promise<() => void> => {
    let closed = 0;
    let isOver = false;
    const sockets = new Set<Socket>();
    const open = () => {
      if (isOver) return;
      const socket = connect(frontDoor.port, '127.0.0.1');
      sockets.add(socket);
      socket
        .on('error', () => {})
        .once('close', () => {
          closed += 1;
          sockets.delete(socket);
          setTimeout(open, 250);
        });
    };
    for (let i = 0; i < 150; i += 1) open();
    await until('connections are closed', () => closed > 0);
    return () => {
      isOver = true;
      for (const socket of sockets) socket.destroy();
    };
  };
  const said = (matches: (line: LogLine) => boolean) => frontDoor.log.filter(matches).length;
  const ask = async (authorization = basic) => {
    const client = createLoadClient(frontDoor);
    try {
      return (await client.ask({ method: 'GET', target: '/v2/', authorization })).status;
    } finally {
      client.close();
    }
  };
  const untilServed = () =>
    until('new connections are served', () =>
      ask().then(
        (status) => status === 200,
        () => false,
      ),
    );

  const connections: Trial = {
    name: 'no descriptor for connections of clients: those who are connected go on, metrics are read, the log says it once, and it passes',
    run: async () => {
      const admin = await findAdmin(frontDoor);
      await withFew(10, async () => {
        const release = await occupy();
        try {
          await until('the log says so', () => said(isShort) > 0);
          for (let i = 0; i < 3; i += 1) await admin.metrics(); // each worker reads how much memory it has
          await bystander.settled();
        } finally {
          release();
        }
      });
      await untilServed();
      await until('the log says that it is over', () => said(isRelieved) === said(isShort), 30_000);
      if (said(isShort) > 2) throw new Error(`the log says it ${said(isShort)} times`);
    },
  };

  const transfers: Trial = {
    name: 'no descriptor for connections to upstream and for files: 503 or the right bytes, nothing is left open, and it passes',
    run: async () => {
      const clients = Array.from({ length: 24 }, () => createCacheClient(frontDoor));
      const [first] = clients;
      if (!first) return 0;
      const blob = randomBytes(300_000);
      const digest = await pushBlob(first, 'descriptors/app', blob);
      const target = `/v2/descriptors/app/blobs/${digest}`;
      const wrong: string[] = [];
      let refused = 0;
      const askAll = async () =>
        Promise.all(
          clients.map(async (client, i) => {
            const isUpload = i % 3 === 0;
            const answer = isUpload
              ? await client.ask('POST', '/v2/descriptors/app/blobs/uploads/')
              : await client.ask('GET', target);
            if (answer.status === 503) {
              refused += 1;
              if (answer.header('Retry-After') === '') wrong.push('a 503 without Retry-After');
            } else if (isUpload ? answer.status !== 202 : digestOf(answer.body) !== digest)
              wrong.push(`${answer.status} ${answer.body.toString('latin1', 0, 200)}`);
          }),
        );
      await askAll(); // all of them have their connection
      const pids = await workerPids(frontDoor);
      const openOf = async (pid: number) => {
        const names = await readdir(`/proc/${pid}/fd`);
        return Promise.all(names.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''))); // closed meanwhile
      };
      const open = async () => (await Promise.all(pids.map(openOf))).flat().filter((link) => link !== '');
      const before = (await open()).length;
      refused = 0;
      await withFew(2, async () => {
        // How many descriptors are needed at once is up to chance.
        for (let i = 0; i < 10 || (refused === 0 && i < 200); i += 1) await askAll();
        await bystander.settled();
      });
      if (refused === 0) throw new Error('nothing was refused: nothing was tried');
      const refusedThen = refused;
      await until('it has passed', async () => {
        refused = 0;
        await askAll();
        return refused === 0;
      });
      for (const client of clients) client.close();
      if (wrong.length > 0) throw new Error(wrong.slice(0, 3).join('; '));
      // Where none is left few can be lost, so each counts: of files none may be open when all has been answered.
      const files = async () => (await open()).filter((link) => link.startsWith(storageDir));
      await until('the files of blobs are closed', async () => (await files()).length === 0);
      await until('connections are closed', async () => (await open()).length <= before);
      return refusedThen;
    },
  };

  const passwords: Trial = {
    name: 'no descriptor to read a changed htpasswd file with: no word of a broken file, and the change counts as soon as there is one',
    run: async () => {
      const isBroken = ({ msg }: LogLine) => /htpasswd.*(cannot be used|can be used again)/.test(msg);
      const before = said(isBroken);
      await withFew(3, async () => {
        const release = await occupy();
        try {
          await writeFile(frontDoor.htpasswdPath, `${users}late:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=\n`);
          await pause(1500);
          await bystander.settled();
        } finally {
          release();
        }
      });
      await until('the new user is let in', () =>
        ask(basicOf('late', 'pass')).then(
          (status) => status === 200,
          () => false,
        ),
      );
      if (said(isBroken) > before) throw new Error('the log speaks of a broken htpasswd file');
    },
  };
  return [connections, transfers, passwords];
}
