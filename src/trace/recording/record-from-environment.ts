import { rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { sitesOfVariable } from '../../core/allocation-site.js';
import { processState } from '../../core/process-state.js';
import { TraceRecorder } from './trace-recorder.js';

/** The file to record into. */
export const TRACE_VARIABLE = 'STOWAGE_TRACE';
/** 1 for allocation sites, or how many frames of each. */
export const SITES_VARIABLE = 'STOWAGE_TRACE_SITES';
/** Set by the process that records into the file itself, so that its children and threads use names of their own. */
export const OWNER_VARIABLE = 'STOWAGE_TRACE_OWNER';
const KEY = Symbol.for('stowage.trace');

/**
 * Records every host of this process into the file that `STOWAGE_TRACE` names, if it names one.
 * The file is made with the first host. A child process or thread that inherits the variable writes `<file>.<pid>[.<thread>]`.
 * Does nothing when another copy of this package does it already.
 */
export function recordFromEnvironment(): void {
  const path = process.env[TRACE_VARIABLE];
  const holder = globalThis as { [KEY]?: true };
  if (path === undefined || path === '' || holder[KEY] === true) return;
  holder[KEY] = true;
  // The program may change its folder before its first host.
  const file = resolve(path);
  let recorder: TraceRecorder | undefined;
  processState().hostListeners.add((host) => {
    recorder ??= record(file, sitesOfVariable(SITES_VARIABLE));
    recorder.add(host);
  });
}

function record(path: string, sites: boolean | number): TraceRecorder {
  const { threadId } = process.getBuiltinModule('node:worker_threads');
  const me = threadId === 0 ? String(process.pid) : `${process.pid}.${threadId}`;
  const owner = process.env[OWNER_VARIABLE] ?? me;
  process.env[OWNER_VARIABLE] = owner;
  if (owner === me) return new TraceRecorder(path, { sites });
  // Others can guess this name: a file or a link that they put there is never written through.
  const beside = `${path}.${me}`;
  rmSync(beside, { force: true });
  return new TraceRecorder(beside, { sites, exclusive: true });
}
