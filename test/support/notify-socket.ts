import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { stop } from './processes.ts';
import { until } from './redis.ts';

/** A service manager's socket for sd_notify(3), and the messages that it received, in order. */
export type NotifySocket = {
  readonly path: string;
  /** Each message: lines of NAME=value. */
  readonly messages: readonly string[];
  /** Waits for so many messages, without those of the watchdog. */
  told(count: number): Promise<readonly string[]>;
  close(): Promise<void>;
};

/** Node has no datagram sockets of this kind. */
const program = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print(json.dumps(None), flush=True)
while True:
    data, control, _flags, _from = s.recvmsg(65536, 4096)
    print(json.dumps(data.decode()), flush=True)
    for level, kind, fds in control:  # systemd-notify waits until its barrier is closed
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            import array, os
            for fd in array.array('i', fds): os.close(fd)
`;

export async function openNotifySocket(): Promise<NotifySocket> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-notify-'));
  const socketPath = path.join(dir, 'notify');
  const child = spawn('python3', ['-c', program, socketPath], { stdio: ['ignore', 'pipe', 'inherit'] });
  const messages: string[] = [];
  await new Promise<void>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const text = JSON.parse(line) as string | null;
      if (text === null) resolve();
      else if (text !== 'BARRIER=1') messages.push(text);
    });
  });
  const spoken = () => messages.filter((text) => text !== 'WATCHDOG=1');
  return {
    path: socketPath,
    messages,
    told: async (count) => {
      await until(`${count} messages`, () => Promise.resolve(spoken().length >= count));
      return spoken();
    },
    close: async () => {
      await stop(child);
      await rm(dir, { recursive: true, force: true });
    },
  };
}
