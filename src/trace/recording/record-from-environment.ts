import { resolve } from 'node:path';
import { sitesOfVariable } from '../../core/allocation-site.js';
import { processState } from '../../core/process-state.js';
import { claimEnvironment, environmentFile } from '../../runtime/environment-file.js';
import { FlightRecorder } from './flight-recorder.js';
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
  const { path: file, exclusive } = environmentFile(path, OWNER_VARIABLE);
  return new TraceRecorder(file, { sites, exclusive });
}

/** The file of the flight recorder. */
export const FLIGHT_VARIABLE = 'STOWAGE_FLIGHT';
/** A signal that has it written. */
const FLIGHT_SIGNAL_VARIABLE = 'STOWAGE_FLIGHT_SIGNAL';
/** Set by the process that writes the file itself. */
const FLIGHT_OWNER_VARIABLE = 'STOWAGE_FLIGHT_OWNER';
const FLIGHT_KEY = Symbol.for('stowage.flight');

/**
 * Has a flight recorder keep the last events of every host of this process when `STOWAGE_FLIGHT` names a file. It is written when
 * something goes wrong, by a child process or thread as `<file>.<pid>[.<thread>]`. `STOWAGE_FLIGHT_SIGNAL` names a signal that has it written, too.
 * Does nothing when another copy of this package does it already.
 */
export function recordFlightFromEnvironment(): void {
  const path = process.env[FLIGHT_VARIABLE];
  const holder = globalThis as { [FLIGHT_KEY]?: true };
  if (path === undefined || path === '' || holder[FLIGHT_KEY] === true) return;
  holder[FLIGHT_KEY] = true;
  const { me, owner } = claimEnvironment(FLIGHT_OWNER_VARIABLE);
  const file = resolve(owner === me ? path : `${path}.${me}`);
  const signal = process.env[FLIGHT_SIGNAL_VARIABLE] as NodeJS.Signals | undefined;
  let recorder: FlightRecorder | undefined;
  processState().hostListeners.add((host) => {
    recorder ??= new FlightRecorder(file, { signal: signal === undefined || (signal as string) === '' ? undefined : signal });
    recorder.add(host);
  });
}
