import { sitesOfVariable } from '../../core/allocation-site.js';
import { warn } from '../../core/attempt.js';
import { checkArgument } from '../../core/errors.js';
import type { MemoryHost } from '../../core/memory-host.js';
import { processState } from '../../core/process-state.js';

/** The port to serve the dashboard of this process's first host at; 0 for any. */
export const SERVE_VARIABLE = 'STOWAGE_SERVE';
/** 1 for allocation sites on the page, or how many frames of each. */
export const SERVE_SITES_VARIABLE = 'STOWAGE_SERVE_SITES';
/** Set by the process that serves itself, so that its children do not want its port. */
const OWNER_VARIABLE = 'STOWAGE_SERVE_OWNER';
const KEY = Symbol.for('stowage.serve');

/**
 * Has the dashboard of this process's first host served when `STOWAGE_SERVE` gives a port, and says where on standard
 * error. Nothing of the server is loaded before. Does nothing when another copy of this package does it already, or in a
 * child of a process that does. With values that are no port or no number of frames the first host cannot be made: ERR_MEM_INVALID_ARGUMENT.
 */
export function serveFromEnvironment(): void {
  const value = process.env[SERVE_VARIABLE];
  const holder = globalThis as { [KEY]?: true };
  if (value === undefined || value === '' || holder[KEY] === true) return;
  const owner = process.env[OWNER_VARIABLE];
  if (owner !== undefined && owner !== String(process.pid)) return;
  holder[KEY] = true;
  process.env[OWNER_VARIABLE] = String(process.pid);
  const state = processState();
  const listener = (host: MemoryHost): void => {
    const isPort = /^\d{1,5}$/.test(value) && Number(value) <= 65535;
    state.hostListeners.delete(listener);
    checkArgument(isPort, SERVE_VARIABLE, JSON.stringify(value), 'a port, 0 to 65535');
    void serve(host, Number(value), sitesOfVariable(SERVE_SITES_VARIABLE));
  };
  state.hostListeners.add(listener);
}

async function serve(host: MemoryHost, port: number, sites: boolean | number): Promise<void> {
  try {
    const { serveDashboard } = await import('./serve-dashboard.js');
    const { url } = await serveDashboard(host, { port, sites });
    process.stderr.write(`stowage: the dashboard of process ${process.pid} is at ${url}\n`);
  } catch (error) {
    // The observed program must not depend on the dashboard.
    warn(error);
  }
}
