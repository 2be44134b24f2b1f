import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
setFlagsFromString('--no-expose-gc');

/** Collects garbage, and lets finalisers run. */
export async function collectGarbage(): Promise<void> {
  // What a weak reference has shown lives to the end of this turn.
  await new Promise(setImmediate);
  collect();
  await new Promise(setImmediate);
  await new Promise(setImmediate);
}
