/** Something that has work to do when the process ends. */
export interface EndsWithProcess {
  endWithProcess(): void;
}

const open = new Set<EndsWithProcess>();
/** What watches hosts, and ends after all of them. */
const watching = new Set<EndsWithProcess>();

/**
 * Has `host` end when the process does.
 *
 * @param role - `watcher` for what has to see the last of the hosts
 */
export function atExit(host: EndsWithProcess, role: 'host' | 'watcher' = 'host'): void {
  if (open.size + watching.size === 0) process.once('exit', endAll);
  (role === 'host' ? open : watching).add(host);
}

/** Takes back {@link atExit}: the host has ended already. */
export function forgetAtExit(host: EndsWithProcess): void {
  const forgotten = open.delete(host) || watching.delete(host);
  if (forgotten && open.size + watching.size === 0) process.off('exit', endAll);
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
