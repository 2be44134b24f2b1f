import type { Device } from '../../core/device.js';
import type { DevicePtr } from '../../core/units.js';
import { checkRange, type TypedArrayClass } from '../../runtime/block-handle.js';
import type { TensorMemory } from './tensor-base.js';

/** A part of a block that several things lie in: memory that ends with the block. */
export class MemoryPart implements TensorMemory {
  /** @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_DISPOSED */
  constructor(
    /** What it is a part of. */
    readonly whole: TensorMemory,
    readonly offsetBytes: number,
    readonly bytes: number,
  ) {
    checkRange(offsetBytes, bytes, whole.bytes);
  }

  get device(): Device {
    return this.whole.device;
  }

  get ptr(): DevicePtr {
    return (this.whole.ptr + this.offsetBytes) as DevicePtr;
  }

  view<T>(type: TypedArrayClass<T>, offsetBytes: number, length: number): T {
    checkRange(offsetBytes, length * type.BYTES_PER_ELEMENT, this.bytes);
    return this.whole.view(type, this.offsetBytes + offsetBytes, length);
  }
}
