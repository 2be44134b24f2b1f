import { MemoryError } from './errors.js';
import type { DevicePtr } from './units.js';

/**
 * What a slot does when its active manager has no memory, though that has given its own cache back: after each step that
 * may have made room, one more try. Stops at the first error that is not out of memory.
 *
 * @param failure - what the first try threw
 * @param giveCachedBack - gives back what all managers cache; skipped where a quota refused, which that does not help
 * @param askListeners - asks listeners to free some. Each step tells whether it may have made room
 * @param tryAgain - allocates once more; a throw means that there is no room yet
 * @throws the last failure
 */
export function climbLadder(
  failure: unknown,
  giveCachedBack: () => boolean,
  askListeners: () => boolean,
  tryAgain: () => DevicePtr,
): DevicePtr {
  let error = failure;
  if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
  const cachedHelps = error.facts.quota === undefined;
  for (const makeRoom of cachedHelps ? [giveCachedBack, askListeners] : [askListeners]) {
    try {
      if (!makeRoom()) continue;
      return tryAgain();
    } catch (again) {
      error = again;
      if (!MemoryError.is(again, 'ERR_MEM_OUT_OF_MEMORY')) break;
    }
  }
  throw error;
}
