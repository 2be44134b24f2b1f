import '../../core/disposable.js';
import { renderPage } from '../render-page.js';
import { EventClients } from './event-clients.js';
import type { LiveState } from './live-data.js';
import { listenLocally, refuse, send } from './local-server.js';
import type { Dashboard } from './serve-dashboard.js';

/**
 * Serves the last state of a program that has ended. A page that was open shows it, too, when it has connected again.
 *
 * @param port - that of the program's own dashboard, for such pages
 * @param ended - how the program ended, in a few words
 * @throws ERR_MEM_INVALID_ARGUMENT for a port that cannot be had, as a rejection
 */
export async function serveEnded({ title, facts, hello }: LiveState, port: number, ended: string): Promise<Dashboard> {
  const page = renderPage({ data: { version: 1, mode: 'live', title, facts }, payload: '' });
  const clients = new EventClients(() => JSON.stringify({ ...hello, ended }));
  const local = await listenLocally(port, (path, response) => {
    if (path === '/') send(response, 'text/html; charset=utf-8', page);
    else if (path !== '/events') refuse(response, 404, 'the program has ended: there is / and /events');
    else if (!clients.add(response)) refuse(response, 503, 'too many pages are open');
  });
  const dispose = (): Promise<void> => {
    clients.close();
    return new Promise((resolve) => {
      local.server.close(() => resolve());
      local.server.closeAllConnections();
    });
  };
  return { port: local.port, url: local.url, dispose, [Symbol.asyncDispose]: dispose };
}
