import { MemoryError, type MemoryErrorFacts } from './errors.js';
import type { DevicePtr } from './units.js';

type OutOfMemory = MemoryErrorFacts['ERR_MEM_OUT_OF_MEMORY'];

/** How far down the causes of an error are looked through. */
const CAUSES = 8;

/**
 * What a slot does when its active manager has no memory, though that has given its own cache back: after each step that
 * may have made room, one more try. Stops at the first error that is not out of memory.
 *
 * @param failure - what the first try threw
 * @param giveCachedBack - gives back what all managers cache; skipped where a quota refused, which that does not help
 * @param trimHeap - has the C library give back what it keeps free; skipped likewise
 * @param askListeners - asks listeners to free some. Each step tells whether it may have made room
 * @param tryAgain - allocates once more; a throw means that there is no room yet
 * @throws the last failure; where a budget refused, with what it says
 */
export function climbLadder(
  failure: unknown,
  giveCachedBack: () => boolean,
  trimHeap: () => boolean,
  askListeners: () => boolean,
  tryAgain: () => DevicePtr,
): DevicePtr {
  let error = failure;
  if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
  const cachedHelps = error.facts.quota === undefined;
  for (const makeRoom of cachedHelps ? [giveCachedBack, trimHeap, askListeners] : [askListeners]) {
    try {
      if (!makeRoom()) continue;
      return tryAgain();
    } catch (again) {
      error = again;
      if (!MemoryError.is(again, 'ERR_MEM_OUT_OF_MEMORY')) break;
    }
  }
  throw refusedByBudget(error);
}

/** The error of a manager that a budget has refused memory: it says so itself, whatever the manager made of it. */
function refusedByBudget(error: unknown): unknown {
  if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') || error.facts.budget !== undefined) return error;
  for (let cause = error.cause, depth = 0; depth < CAUSES && MemoryError.is(cause, 'ERR_MEM_OUT_OF_MEMORY'); depth++) {
    const { budget, quota, missingBytes, capacityBytes } = cause.facts;
    if (budget !== undefined) {
      return new MemoryError(
        'ERR_MEM_OUT_OF_MEMORY',
        { ...error.facts, capacityBytes, quota, missingBytes, budget } as OutOfMemory,
        error,
      );
    }
    cause = cause.cause;
  }
  return error;
}
