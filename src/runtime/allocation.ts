import { BlockHandle } from './block-handle.js';
import { SharedHandle } from './shared-handle.js';

/**
 * The one owner of a block: `using block = runtime.allocate(bytes)`.
 * {@link move} passes the block on, {@link share} turns it into one with several owners; both leave this handle empty.
 */
export class Allocation extends BlockHandle {
  /** Passes the block on to a new handle, which belongs to no scope. */
  move(): Allocation {
    const { block } = this;
    this.detach();
    return new Allocation(block);
  }

  /** Passes the block on to a counted handle, which belongs to no scope. */
  share(): SharedHandle {
    const { block } = this;
    this.detach();
    return new SharedHandle(block);
  }
}
