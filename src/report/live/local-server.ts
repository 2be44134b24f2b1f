import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { warn } from '../../core/attempt.js';
import { badArgument } from '../../core/errors.js';

const ADDRESS = '127.0.0.1';
const HEADERS = new Map([
  ['X-Content-Type-Options', 'nosniff'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['X-Frame-Options', 'DENY'],
]);

/** A server that only this machine reaches. */
export interface LocalServer {
  readonly server: Server;
  readonly port: number;
  readonly url: string;
}

/**
 * Listens on 127.0.0.1, answers GET alone, and only under a local name, so that no web site can read it by pointing a name of
 * its own here.
 *
 * @param port - 0 takes any that is free
 * @param get - answers a request for a path
 * @throws ERR_MEM_INVALID_ARGUMENT for a port that cannot be had, as a rejection
 */
export async function listenLocally(port: number, get: (path: string, response: ServerResponse) => void): Promise<LocalServer> {
  const server = createServer((request, response) => {
    response.setHeaders(HEADERS);
    if (!isLocalName(request.headers.host, portOf(server))) {
      refuse(response, 403, 'this server answers under a local name only');
    } else if (request.method !== 'GET') {
      response.setHeader('Allow', 'GET');
      refuse(response, 405, 'this server answers GET only');
    } else {
      get((request.url ?? '').split('?', 1)[0] as string, response);
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(badArgument('port', port, whyNot(error), error)));
    server.listen({ port, host: ADDRESS, exclusive: true }, resolve);
  });
  // For example: no file descriptor is left for one more connection.
  server.on('error', (error) => warn(error));
  const bound = portOf(server);
  return { server, port: bound, url: `http://${ADDRESS}:${bound}/` };
}

/** Finds out whether a port is free now. @throws as {@link listenLocally} */
export async function checkPortFree(port: number): Promise<void> {
  const { server } = await listenLocally(port, () => undefined);
  await new Promise((resolve) => server.close(resolve));
}

/** Answers with a text that is not to be kept. */
export function send(response: ServerResponse, type: string, content: string | Uint8Array): void {
  response.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(content);
}

export function refuse(response: ServerResponse, status: number, reason: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${reason}\n`);
}

/** What a port has to be, in words. */
function whyNot(error: NodeJS.ErrnoException): string {
  return error.code === 'EADDRINUSE' ? 'one that nobody listens on: 0 takes any' : 'one that this process may listen on';
}

/** Tells whether a request was sent to this machine by a name that only this machine can have. */
function isLocalName(host: IncomingMessage['headers']['host'], port: number): boolean {
  const names = ['127.0.0.1', 'localhost', '[::1]'];
  return host !== undefined && names.some((name) => host.toLowerCase() === `${name}:${port}` || (port === 80 && host === name));
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
