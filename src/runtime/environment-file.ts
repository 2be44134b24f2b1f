import { rmSync } from 'node:fs';

/** A file that a process writes because its environment says so. */
export interface EnvironmentFile {
  readonly path: string;
  /** Whether nothing may be there when it is made. */
  readonly exclusive: boolean;
}

/**
 * Makes this process or thread the owner of what the environment names, unless one that it inherited the environment from is.
 *
 * @param ownerVariable - where the owner puts its number, for its children
 * @returns the number of this process or thread, and that of the owner
 */
export function claimEnvironment(ownerVariable: string): { readonly me: string; readonly owner: string } {
  const { threadId } = process.getBuiltinModule('node:worker_threads');
  const me = threadId === 0 ? String(process.pid) : `${process.pid}.${threadId}`;
  const owner = process.env[ownerVariable] ?? me;
  process.env[ownerVariable] = owner;
  return { me, owner };
}

/**
 * Gives this process or thread its own name of a file that the environment names: the owner has the name itself, children and
 * threads write `<file>.<pid>[.<thread>]`.
 */
export function environmentFile(path: string, ownerVariable: string): EnvironmentFile {
  const { me, owner } = claimEnvironment(ownerVariable);
  if (owner === me) return { path, exclusive: false };
  // Others can guess this name: a file or a link that they put there is never written through.
  const beside = `${path}.${me}`;
  rmSync(beside, { force: true });
  return { path: beside, exclusive: true };
}
