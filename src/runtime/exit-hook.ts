/** Something to be closed when the process ends. */
export interface ClosesAtExit {
  closeWithReport(): void;
}

const open = new Set<ClosesAtExit>();

/** Has `runtime` closed when the process ends. */
export function closeAtExit(runtime: ClosesAtExit): void {
  if (open.size === 0) process.once('exit', closeAll);
  open.add(runtime);
}

/** Takes back {@link closeAtExit}: the runtime is closed already. */
export function forgetAtExit(runtime: ClosesAtExit): void {
  if (open.delete(runtime) && open.size === 0) process.off('exit', closeAll);
}

function closeAll(): void {
  for (const runtime of [...open]) runtime.closeWithReport();
}
