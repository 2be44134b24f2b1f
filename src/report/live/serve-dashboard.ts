import type { ServerResponse } from 'node:http';
import { checkOptionNames, type OptionNames } from '../../core/option-names.js';
import '../../core/disposable.js';
import { siteFrames } from '../../core/allocation-site.js';
import { warn } from '../../core/attempt.js';
import { checkHost } from '../../core/check-given.js';
import { checkArgument } from '../../core/errors.js';
import type { MemoryHost } from '../../core/memory-host.js';
import { flightOf } from '../../trace/recording/flight-recorder.js';
import { renderPage } from '../render-page.js';
import type { Fact } from '../report-data.js';
import { EventClients } from './event-clients.js';
import type { LiveState } from './live-data.js';
import { LiveSampler } from './live-sampler.js';
import { type SiteSource, stackSource } from './live-sites.js';
import { listenLocally, refuse, send } from './local-server.js';
import { PROMETHEUS_TYPE, prometheusMetrics } from './prometheus.js';

/** What the page shows, as JSON, for the command that keeps it. */
export const STATE_PATH = '/state';
const DEFAULT_INTERVAL_MS = 250;
const MIN_INTERVAL_MS = 20;

/** How to serve. */
export interface DashboardOptions {
  /** 0 takes any that is free. @defaultValue 0 */
  readonly port?: number | undefined;
  /** Milliseconds from one reading to the next, at least 20. @defaultValue 250 */
  readonly intervalMs?: number | undefined;
  /** The heading of the page. @defaultValue the name of the process's main script */
  readonly title?: string | undefined;
  /** True shows where memory is allocated, in up to 8 frames; a number in so many: some tens of µs an allocation. @defaultValue false */
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
 * site can read it by pointing a name of its own here. Following the blocks costs about 0.3 µs a call (with `sites` some tens of µs an allocation); reading the
 * statistics some microseconds an interval.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT for bad options or a port that cannot be had, as a rejection
 */
export async function serveDashboard(host: MemoryHost, options: DashboardOptions = {}): Promise<Dashboard> {
  checkOptionNames('serveDashboard', options, OPTIONS);
  return (await openDashboard(host, options)).dashboard;
}

/** A dashboard, and what its page shows. */
export interface OpenDashboard {
  readonly dashboard: Dashboard;
  /** Reads the program now. Cost: O(blocks log blocks). */
  readonly state: () => LiveState;
}

/** As {@link serveDashboard}, for who wants what the page shows as well. */
export function openDashboard(host: MemoryHost, options: DashboardOptions): Promise<OpenDashboard> {
  const frames = siteFrames(options.sites);
  return openWithSites(host, options, frames > 0 ? stackSource(frames) : undefined);
}

/** Serves the page with sites from elsewhere. @throws as {@link serveDashboard} */
export async function serveWithSites(
  host: MemoryHost,
  options: Omit<DashboardOptions, 'sites'>,
  source: SiteSource | undefined,
): Promise<Dashboard> {
  return (await openWithSites(host, options, source)).dashboard;
}

async function openWithSites(
  host: MemoryHost,
  options: Omit<DashboardOptions, 'sites'>,
  source: SiteSource | undefined,
): Promise<OpenDashboard> {
  checkHost(host);
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
  const { server, port: bound, url } = await listenLocally(port, get);
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
  if (!keepAlive) {
    server.on('connection', (socket) => socket.unref());
    server.unref();
    timer.unref();
  }

  function get(path: string, response: ServerResponse): void {
    if (path === '/') send(response, 'text/html; charset=utf-8', page);
    else if (path === '/metrics') sendMetrics(response);
    else if (path === STATE_PATH) sendState(response);
    else if (path === '/flight.stowtrace') sendFlight(response);
    else if (path !== '/events') refuse(response, 404, 'there is /, /events, /metrics and /flight.stowtrace');
    else if (!clients.add(response)) refuse(response, 503, 'too many pages are open');
  }

  function state(): LiveState {
    sampler.take(false);
    return { title, facts, hello: sampler.hello() };
  }

  function sendState(response: ServerResponse): void {
    try {
      send(response, 'application/json', JSON.stringify(state()));
    } catch (error) {
      refuse(response, 500, `the state cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  function sendMetrics(response: ServerResponse): void {
    try {
      send(response, PROMETHEUS_TYPE, prometheusMetrics(host));
    } catch (error) {
      refuse(response, 500, `the statistics cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  function sendFlight(response: ServerResponse): void {
    const recorder = flightOf(host);
    if (recorder === undefined) refuse(response, 404, 'no flight recorder is on: see recordFlight and STOWAGE_FLIGHT');
    else send(response, 'application/octet-stream', recorder.snapshot('asked for by the live page'));
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
  return { dashboard: { port: bound, url, dispose, [Symbol.asyncDispose]: dispose }, state };
}
