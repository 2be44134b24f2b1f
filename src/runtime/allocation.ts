import { BlockHandle } from './block-handle.js';

/**
 * The one owner of a block: `using block = runtime.allocate(bytes)`.
 * {@link move} passes the block on, {@link share} turns it into one with several owners; both leave this handle empty.
 */
export class Allocation extends BlockHandle {
  /** Passes the block on to a new handle, which belongs to no scope. */
  move(): Allocation {
    return new Allocation(this.detach());
  }

  /** Passes the block on to a counted handle, which belongs to no scope. */
  share(): SharedHandle {
    return new SharedHandle(this.detach());
  }
}

/** One of the owners of a block: the last one that is disposed frees it. */
export class SharedHandle extends BlockHandle {
  /** Makes one more owner. */
  share(): SharedHandle {
    this.block.holders++;
    return new SharedHandle(this.block);
  }

  /** How many owners the block has. */
  get owners(): number {
    return this.block.holders;
  }
}
