/** Something that has work to do when the process ends. */
export interface EndsWithProcess {
  endWithProcess(): void;
}

const open = new Set<EndsWithProcess>();
/** What watches hosts, and ends after all of them. */
const watching = new Set<EndsWithProcess>();
/** `process.emit` as it was; undefined while it is not ours. */
let emitBefore: typeof process.emit | undefined;

/**
 * Has `host` end when the process does, after every `exit` listener of the program, whenever that was registered: an
 * emitter calls its listeners in the order of their registration, so what has to be last cannot be one of them.
 *
 * @param role - `watcher` for what has to see the last of the hosts
 */
export function atExit(host: EndsWithProcess, role: 'host' | 'watcher' = 'host'): void {
  (role === 'host' ? open : watching).add(host);
  if (emitBefore !== undefined) return;
  emitBefore = process.emit;
  process.emit = emitAndEnd as typeof process.emit;
}

/** Takes back {@link atExit}: the host has ended already. */
export function forgetAtExit(host: EndsWithProcess): void {
  if (!open.delete(host)) watching.delete(host);
  // Where somebody has wrapped ours meanwhile it stays, and only passes calls on.
  if (open.size + watching.size > 0 || process.emit !== emitAndEnd || emitBefore === undefined) return;
  process.emit = emitBefore;
  emitBefore = undefined;
}

function emitAndEnd(this: NodeJS.Process, ...event: unknown[]): boolean {
  const emit = emitBefore as (...event: unknown[]) => boolean;
  if (event[0] !== 'exit') return Reflect.apply(emit, this, event);
  try {
    return Reflect.apply(emit, this, event);
  } finally {
    endAll();
  }
}

function endAll(): void {
  let failure: { readonly error: unknown } | undefined;
  for (const host of [...open, ...watching]) {
    try {
      host.endWithProcess();
    } catch (error) {
      // A report that cannot be written must not keep the other hosts from ending.
      failure ??= { error };
    }
  }
  if (failure !== undefined) throw failure.error;
}
