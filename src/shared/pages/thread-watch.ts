import { isProcessAlive, type ProcessIdentity, threadIdentity } from '../../../adapters/os/process-identity.js';

/** Who this thread is, and who else still runs. */
export interface ThreadWatch {
  readonly self: ProcessIdentity;
  readonly pid: number;
  isAlive(id: number, startTime: number): boolean;
}

/** Asks the system. */
export function systemWatch(): ThreadWatch {
  return { self: threadIdentity(), pid: process.pid, isAlive: isProcessAlive };
}
