import { MemoryError } from './errors.js';

/** Where a manager stands: `created -> active <-> draining -> stopped`. */
export type ManagerState = 'created' | 'active' | 'draining' | 'stopped';

const NEXT: { readonly [S in ManagerState]: readonly ManagerState[] } = {
  created: ['active'],
  active: ['draining'],
  draining: ['active', 'stopped'],
  stopped: [],
};

/** One manager's place in its life. Slots move it; everybody may look. */
export class ManagerLifecycle {
  /**
   * Called by a manager that counts its live blocks when it has freed one; its slot sets it while it drains or is observed.
   * During `unlock` and `userUnlock` it stands for the block of that call.
   */
  onFree: (() => void) | undefined;
  /**
   * Called by a manager that has freed blocks by itself (an arena's reset), after that and before {@link onFree}. A decorator
   * sets it, to drop from its books what is gone.
   */
  onReset: (() => void) | undefined;
  #state: ManagerState = 'created';

  get state(): ManagerState {
    return this.#state;
  }

  /**
   * Checks that `next` may follow the present state.
   *
   * @throws ERR_MEM_LIFECYCLE when it may not
   */
  check(next: ManagerState, manager: string): void {
    if (!NEXT[this.#state].includes(next)) {
      throw new MemoryError('ERR_MEM_LIFECYCLE', { manager, from: this.#state, to: next });
    }
  }

  /** @throws ERR_MEM_LIFECYCLE when `next` may not follow; nothing has changed then */
  enter(next: ManagerState, manager: string): void {
    this.check(next, manager);
    this.#state = next;
  }
}
