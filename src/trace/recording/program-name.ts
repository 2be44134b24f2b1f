import { basename } from 'node:path';
import { checkArgument } from '../../core/errors.js';

/**
 * The name of a recorded program.
 *
 * @param given - in options; this program's main script, and the thread, when undefined
 * @throws ERR_MEM_INVALID_ARGUMENT
 */
export function programName(given: string | undefined): string {
  if (given !== undefined) {
    checkArgument(typeof given === 'string', 'name', String(given), 'text');
    return given;
  }
  const { threadId } = process.getBuiltinModule('node:worker_threads');
  const name = basename(process.argv[1] ?? 'node');
  return threadId === 0 ? name : `${name}, thread ${threadId}`;
}
