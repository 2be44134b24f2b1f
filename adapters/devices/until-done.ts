import { setImmediate, setTimeout } from 'node:timers/promises';

// Work is often done within microseconds: so many turns of the event loop before the first pause.
const EAGER_POLLS = 64;
const PAUSE_MS = 1;

/**
 * Asks once a turn of the event loop whether work is done, and keeps the process alive meanwhile. The promise resolves at
 * once after short work, within about 1 ms after long work.
 *
 * A driver can call back instead, but from a thread of its own, and waits for that callback: a synchronous call of the
 * driver in between would never return.
 *
 * @param isDone - asked until it says true; what it throws rejects the promise
 */
export async function untilDone(isDone: () => boolean): Promise<void> {
  let polls = 0;
  do await (polls++ < EAGER_POLLS ? setImmediate() : setTimeout(PAUSE_MS));
  while (!isDone());
}
