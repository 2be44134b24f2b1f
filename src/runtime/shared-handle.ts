import { BlockHandle } from './block-handle.js';

/** One of the owners of a block: the last one that is disposed frees it. */
export class SharedHandle extends BlockHandle {
  /** Makes one more owner. */
  share(): SharedHandle {
    const { block } = this;
    block.hold();
    return new SharedHandle(block);
  }

  /** How many owners the block has. */
  get owners(): number {
    return this.block.holders;
  }
}
