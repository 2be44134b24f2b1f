import { HandleWatch } from '../../src/runtime/handle-watch.js';

/** Collects garbage, and lets the finalisers of handles run. */
export async function collectGarbage(): Promise<void> {
  // What a weak reference has shown lives to the end of this turn.
  await new Promise(setImmediate);
  await HandleWatch.shared().pressure.collect();
}
