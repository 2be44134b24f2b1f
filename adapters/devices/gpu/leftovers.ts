import { attempt } from '../../../src/core/attempt.js';

/**
 * What has to be given back after a call that has succeeded, or has failed for another reason. Where the runtime refuses,
 * that becomes a process warning, and the thing is tried again later instead of being lost.
 */
export class Leftovers {
  readonly #actions: (() => void)[] = [];

  /** Gives something back now, or later. @param giveBack - throws when it is refused */
  drop(giveBack: () => void): void {
    this.#actions.push(giveBack);
    this.retry();
  }

  /** Tries again what was refused. Cost: O(1) where nothing was. */
  retry(): void {
    // Taken out first: an action may come back here.
    for (let action = this.#actions.pop(); action !== undefined; action = this.#actions.pop()) {
      const giveBack = action;
      let isGiven = false;
      attempt(() => {
        giveBack();
        isGiven = true;
      });
      if (isGiven) continue;
      this.#actions.push(action);
      return;
    }
  }
}
