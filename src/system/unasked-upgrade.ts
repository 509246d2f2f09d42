import type { ClientRequest } from 'node:http';

/** Makes a 101 an error of its request. Without this Node closes the socket and reports neither response nor error. */
export function refuseUpgrade(request: ClientRequest): void {
  request.once('upgrade', (_response, socket) => {
    socket.destroy();
    request.emit('error', new Error('it answered 101 Switching Protocols unasked'));
  });
}
