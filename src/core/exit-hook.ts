/** Something that has work to do when the process ends. */
export interface EndsWithProcess {
  endWithProcess(): void;
}

const open = new Set<EndsWithProcess>();

/** Has `host` end when the process does. */
export function atExit(host: EndsWithProcess): void {
  if (open.size === 0) process.once('exit', endAll);
  open.add(host);
}

/** Takes back {@link atExit}: the host has ended already. */
export function forgetAtExit(host: EndsWithProcess): void {
  if (open.delete(host) && open.size === 0) process.off('exit', endAll);
}

function endAll(): void {
  let failure: { readonly error: unknown } | undefined;
  for (const host of [...open]) {
    try {
      host.endWithProcess();
    } catch (error) {
      // A report that cannot be written must not keep the other hosts from ending.
      failure ??= { error };
    }
  }
  if (failure !== undefined) throw failure.error;
}
