import { sitesOfVariable } from '../../core/allocation-site.js';
import { attempt } from '../../core/attempt.js';
import { checkArgument } from '../../core/errors.js';
import type { MemoryHost } from '../../core/memory-host.js';
import { processState } from '../../core/process-state.js';
import type { LiveState } from './live-data.js';
import type { OpenDashboard } from './serve-dashboard.js';

/** The port to serve the dashboard of this process's first host at; 0 for any. */
export const SERVE_VARIABLE = 'STOWAGE_SERVE';
/** 1 for allocation sites on the page, or how many frames of each. */
export const SERVE_SITES_VARIABLE = 'STOWAGE_SERVE_SITES';
/** The file in which the command that runs the program is told what becomes of the dashboard. */
export const SERVE_STATE_VARIABLE = 'STOWAGE_SERVE_STATE';
/** Set by the process that serves itself, so that its children do not want its port. */
const OWNER_VARIABLE = 'STOWAGE_SERVE_OWNER';
const KEY = Symbol.for('stowage.serve');

/** What a served program tells the command that runs it: that it has a host, where its page is, and at the end what the page shows. */
export interface ServedProgram {
  /** Left out before the page is served. */
  readonly url?: string;
  /** Left out before the program's `exit` event. */
  readonly last?: LiveState;
}

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
    const sites = sitesOfVariable(SERVE_SITES_VARIABLE);
    tell({});
    void serve(host, Number(value), sites);
  };
  state.hostListeners.add(listener);
}

async function serve(host: MemoryHost, port: number, sites: boolean | number): Promise<void> {
  try {
    const { openDashboard } = await import('./serve-dashboard.js');
    const opened = await openDashboard(host, { port, sites });
    const { url } = opened.dashboard;
    process.stderr.write(`stowage: the dashboard of process ${process.pid} is at ${url}\n`);
    tell({ url });
    if (process.env[SERVE_STATE_VARIABLE] !== undefined) process.once('exit', () => tellLast(opened));
  } catch (error) {
    // The observed program must not depend on the dashboard.
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`stowage: the dashboard of process ${process.pid} cannot be served: ${reason}\n`);
  }
}

function tellLast({ dashboard, state }: OpenDashboard): void {
  attempt(() => tell({ url: dashboard.url, last: state() }));
}

/** Writes the file for the command that runs this program, if it is run by one; whole, or not at all. */
function tell(served: ServedProgram): void {
  const file = process.env[SERVE_STATE_VARIABLE];
  if (file === undefined || file === '') return;
  attempt(() => {
    const { renameSync, writeFileSync } = process.getBuiltinModule('node:fs');
    const part = `${file}.part`;
    writeFileSync(part, JSON.stringify(served), { mode: 0o600 });
    renameSync(part, file);
  });
}
