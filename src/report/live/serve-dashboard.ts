import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { checkOptionNames, type OptionNames } from '../../core/option-names.js';
import '../../core/disposable.js';
import { siteFrames } from '../../core/allocation-site.js';
import { warn } from '../../core/attempt.js';
import { badArgument, checkArgument } from '../../core/errors.js';
import type { MemoryHost } from '../../core/memory-host.js';
import { renderPage } from '../render-page.js';
import type { Fact } from '../report-data.js';
import { EventClients } from './event-clients.js';
import { LiveSampler } from './live-sampler.js';
import { type SiteSource, stackSource } from './live-sites.js';
import { PROMETHEUS_TYPE, prometheusMetrics } from './prometheus.js';

const ADDRESS = '127.0.0.1';
const DEFAULT_INTERVAL_MS = 250;
const MIN_INTERVAL_MS = 20;
const HEADERS = new Map([
  ['X-Content-Type-Options', 'nosniff'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['X-Frame-Options', 'DENY'],
]);

/** How to serve. */
export interface DashboardOptions {
  /** 0 takes any that is free. @defaultValue 0 */
  readonly port?: number | undefined;
  /** Milliseconds from one reading to the next, at least 20. @defaultValue 250 */
  readonly intervalMs?: number | undefined;
  /** The heading of the page. @defaultValue the name of the process's main script */
  readonly title?: string | undefined;
  /** True shows where memory is allocated, in up to 8 frames; a number in so many: some microseconds an allocation. @defaultValue false */
  readonly sites?: boolean | number | undefined;
  /** True lets the server keep the process alive. @defaultValue false */
  readonly keepAlive?: boolean | undefined;
}

const OPTIONS: OptionNames<DashboardOptions> = { port: true, intervalMs: true, title: true, sites: true, keepAlive: true };

/** A dashboard that is being served. */
export interface Dashboard {
  readonly port: number;
  /** Of the page; `/metrics` beside it is for Prometheus. */
  readonly url: string;
  /** Ends the server and all its streams. */
  dispose(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Serves a page that shows what a host's managers hold, as it changes, and `/metrics` in Prometheus' text format.
 *
 * Only this machine reaches it: it listens on 127.0.0.1, answers GET alone, and only under a local name, so that no web
 * site can read it by pointing a name of its own here. Following the blocks costs about 0.3 µs a call (with `sites` some µs an allocation); reading the
 * statistics some microseconds an interval.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT for bad options or a port that cannot be had, as a rejection
 */
export async function serveDashboard(host: MemoryHost, options: DashboardOptions = {}): Promise<Dashboard> {
  checkOptionNames('serveDashboard', options, OPTIONS);
  const frames = siteFrames(options.sites);
  return serveWithSites(host, options, frames > 0 ? stackSource(frames) : undefined);
}

/** Serves the page with sites from elsewhere. @throws as {@link serveDashboard} */
export async function serveWithSites(
  host: MemoryHost,
  options: Omit<DashboardOptions, 'sites'>,
  source: SiteSource | undefined,
): Promise<Dashboard> {
  const { port = 0, intervalMs = DEFAULT_INTERVAL_MS, keepAlive = false } = options;
  const { title = process.argv[1]?.replace(/^.*[\\/]/, '') ?? 'node' } = options;
  checkArgument(Number.isInteger(port) && port >= 0 && port <= 65535, 'port', port, 'an integer from 0 to 65535');
  const isInterval = intervalMs >= MIN_INTERVAL_MS && intervalMs < 2 ** 31;
  checkArgument(isInterval, 'intervalMs', intervalMs, `a number from ${MIN_INTERVAL_MS} on`);
  const facts: Fact[] = [
    { label: 'process', value: String(process.pid) },
    { label: 'Node', value: process.version },
    { label: 'reading every', value: `${intervalMs} ms` },
  ];
  const page = renderPage({ data: { version: 1, mode: 'live', title, facts }, payload: '' });
  const server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(badArgument('port', port, 'one that this process may listen on', error)));
    server.listen({ port, host: ADDRESS, exclusive: true }, resolve);
  });
  // For example: no file descriptor is left for one more connection.
  server.on('error', (error) => warn(error));
  // From here on the sampler and the clients must be ended.
  const sampler = new LiveSampler(host, source);
  const clients = new EventClients(() => JSON.stringify(sampler.hello()));
  const timer = setInterval(() => {
    try {
      const update = sampler.take(clients.count > 0);
      if (clients.count > 0) clients.send('update', JSON.stringify(update));
    } catch (error) {
      // A manager that fails to give its statistics is no reason to end the observed program.
      void dispose();
      warn(error);
    }
  }, intervalMs);
  sampler.take(false);
  const { port: bound } = server.address() as AddressInfo;
  if (!keepAlive) {
    server.on('connection', (socket) => socket.unref());
    server.unref();
    timer.unref();
  }

  function answer(request: IncomingMessage, response: ServerResponse): void {
    response.setHeaders(HEADERS);
    if (!isLocalName(request.headers.host, bound)) {
      refuse(response, 403, 'this server answers under a local name only');
    } else if (request.method !== 'GET') {
      response.setHeader('Allow', 'GET');
      refuse(response, 405, 'this server answers GET only');
    } else {
      get((request.url ?? '').split('?', 1)[0] as string, response);
    }
  }

  function get(path: string, response: ServerResponse): void {
    if (path === '/') send(response, 'text/html; charset=utf-8', page);
    else if (path === '/metrics') sendMetrics(response);
    else if (path !== '/events') refuse(response, 404, 'there is /, /events and /metrics');
    else if (!clients.add(response)) refuse(response, 503, 'too many pages are open');
  }

  function sendMetrics(response: ServerResponse): void {
    try {
      send(response, PROMETHEUS_TYPE, prometheusMetrics(host));
    } catch (error) {
      refuse(response, 500, `the statistics cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  let disposed: Promise<void> | undefined;
  const dispose = (): Promise<void> => {
    disposed ??= new Promise((resolve) => {
      clearInterval(timer);
      sampler.stop();
      clients.close();
      server.close(() => resolve());
      server.closeAllConnections();
    });
    return disposed;
  };
  return { port: bound, url: `http://${ADDRESS}:${bound}/`, dispose, [Symbol.asyncDispose]: dispose };
}

/** Tells whether a request was sent to this machine by a name that only this machine can have. */
function isLocalName(host: string | undefined, port: number): boolean {
  const names = ['127.0.0.1', 'localhost', '[::1]'];
  return host !== undefined && names.some((name) => host.toLowerCase() === `${name}:${port}` || (port === 80 && host === name));
}

function send(response: ServerResponse, type: string, text: string): void {
  response.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(text);
}

function refuse(response: ServerResponse, status: number, reason: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${reason}\n`);
}
