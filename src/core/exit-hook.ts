import { tryAll } from './try-all.js';

/** Something that has work to do when the process ends. */
export interface EndsWithProcess {
  endWithProcess(): void;
}

const open = new Set<EndsWithProcess>();
/** What watches hosts, and ends after all of them. */
const watching = new Set<EndsWithProcess>();
/** `process.emit` as it was; undefined while it is not ours. */
let emitBefore: typeof process.emit | undefined;
/** Ends the process at once; `process.exit` calls it after the listeners, also from inside one of them. */
let reallyExitBefore: ((code?: number) => never) | undefined;
let isEmitting = false;
/** The last interrupt or request to end that a listener of the program was told of. */
let toldSignal: string | undefined;

const ENDING_SIGNALS: readonly unknown[] = ['SIGINT', 'SIGTERM'];
/** Exit codes by which programs say which signal ended them. */
const SIGNAL_OF_CODE: ReadonlyMap<unknown, string> = new Map([
  [129, 'SIGHUP'],
  [130, 'SIGINT'],
  [143, 'SIGTERM'],
]);

type ProcessInside = NodeJS.Process & { reallyExit: (code?: number) => never };

/**
 * Has `host` end when the process does, after every `exit` listener of the program, whenever that was registered: an
 * emitter calls its listeners in the order of their registration, so what has to be last cannot be one of them.
 *
 * Two ways lead past the end of `process.emit`, and have a hook each: a listener that calls `process.exit`, and somebody who
 * puts an older `process.emit` back. In the second case the host ends as a listener, among the others.
 *
 * @param role - `watcher` for what has to see the last of the hosts
 */
export function atExit(host: EndsWithProcess, role: 'host' | 'watcher' = 'host'): void {
  if (open.size + watching.size === 0) process.on('exit', endAmongListeners);
  (role === 'host' ? open : watching).add(host);
  if (emitBefore === undefined) {
    emitBefore = process.emit;
    process.emit = emitAndEnd as typeof process.emit;
  }
  if (reallyExitBefore === undefined) {
    reallyExitBefore = (process as ProcessInside).reallyExit;
    (process as ProcessInside).reallyExit = endAndExit;
  }
}

/**
 * The signal for which a process ends that is ending now; undefined when it ends by itself. Known are exit codes of 128 and the
 * number, and SIGINT and SIGTERM that a listener was told of which the program added after its first host.
 */
export function endingSignal(): string | undefined {
  return SIGNAL_OF_CODE.get(process.exitCode) ?? toldSignal;
}

/** Takes back {@link atExit}: the host has ended already. */
export function forgetAtExit(host: EndsWithProcess): void {
  if (!open.delete(host)) watching.delete(host);
  if (open.size + watching.size > 0) return;
  process.off('exit', endAmongListeners);
  // Where somebody has wrapped ours meanwhile it stays, and only passes calls on.
  if (process.emit === emitAndEnd && emitBefore !== undefined) {
    process.emit = emitBefore;
    emitBefore = undefined;
  }
  if ((process as ProcessInside).reallyExit === endAndExit && reallyExitBefore !== undefined) {
    (process as ProcessInside).reallyExit = reallyExitBefore;
    reallyExitBefore = undefined;
  }
}

function emitAndEnd(this: NodeJS.Process, ...event: unknown[]): boolean {
  const emit = emitBefore as (...event: unknown[]) => boolean;
  if (event[0] !== 'exit') {
    if (ENDING_SIGNALS.includes(event[0])) toldSignal = event[0] as string;
    return Reflect.apply(emit, this, event);
  }
  isEmitting = true;
  try {
    return Reflect.apply(emit, this, event);
  } finally {
    isEmitting = false;
    endAll();
  }
}

function endAndExit(this: NodeJS.Process, code?: number): never {
  // The last host that ends takes the hooks away.
  const exit = reallyExitBefore!;
  try {
    endAll();
  } finally {
    Reflect.apply(exit, this, [code]);
  }
  throw new Error('the process goes on after its end');
}

function endAmongListeners(): void {
  if (!isEmitting) endAll();
}

/** Each host and watcher ends once. */
function endAll(): void {
  const ending = [...open, ...watching];
  open.clear();
  watching.clear();
  // A report that cannot be written must not keep the other hosts from ending.
  tryAll(ending, (host) => host.endWithProcess());
}
