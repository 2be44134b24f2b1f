import { basename } from 'node:path';

/** The name of this program: its main script, and the thread. */
export function programName(): string {
  const { threadId } = process.getBuiltinModule('node:worker_threads');
  const name = basename(process.argv[1] ?? 'node');
  return threadId === 0 ? name : `${name}, thread ${threadId}`;
}
