import { checkArgument, checkRange } from '../../core/errors.js';
import { alignUp } from '../../core/units.js';
import type { Allocation } from '../../runtime/allocation.js';
import { MemoryPart } from '../tensors/tensor-base.js';
import type { ContextTensor } from './context-tensor.js';
import { CONTEXT_ALIGNMENT, checkRoom } from './object-list.js';

/** Memory of the caller for intermediate results, that is used again and again. */
export interface Scratch {
  readonly data: Allocation;
  /** Bytes, at most those of `data`. */
  readonly size: number;
  /** How many of them are taken. @defaultValue 0 */
  readonly offs?: number;
}

/** The scratch memory of a context: the present one, the saved one, and which tensors lie where. */
export class ScratchMemory {
  present: Scratch | undefined;
  saved: Scratch | undefined;
  #tensors: (readonly [tensor: ContextTensor, data: Allocation, end: number])[] = [];

  /** Uses other memory, another offset in the same memory, or none. Tensors that lie behind that offset end. */
  set(scratch: Scratch | undefined): void {
    if (scratch !== undefined) {
      const { data, size, offs = 0 } = scratch;
      checkRange(offs, size - offs, size);
      checkRange(0, size, data.bytes);
      checkContextMemory('scratch.data', data);
      for (const [tensor, memory, end] of this.#tensors) if (memory === data && end > offs) tensor.end();
      this.#tensors = this.#tensors.filter(([tensor]) => !tensor.ended);
    }
    this.present = scratch;
  }

  /** Where a tensor of so many bytes would lie; undefined without scratch. @throws ERR_MEM_OUT_OF_MEMORY */
  partFor(bytes: number): MemoryPart | undefined {
    if (this.present === undefined) return undefined;
    const { data, size, offs = 0 } = this.present;
    const start = alignUp(offs, CONTEXT_ALIGNMENT);
    checkRoom('the scratch memory', bytes, start, size);
    return new MemoryPart(data, start, bytes);
  }

  /** Takes the bytes that {@link partFor} gave. */
  take(tensor: ContextTensor, part: MemoryPart): void {
    const end = part.offsetBytes + part.bytes;
    this.present = { ...this.present!, offs: end };
    this.#tensors.push([tensor, this.present.data, end]);
  }

  /** Forgets the memory, what was saved, and the tensors. */
  reset(): void {
    this.present = undefined;
    this.saved = undefined;
    this.#tensors = [];
  }
}

/** @throws ERR_MEM_INVALID_ARGUMENT unless the memory begins where objects may begin */
export function checkContextMemory(name: string, { ptr }: Allocation): void {
  checkArgument(ptr % CONTEXT_ALIGNMENT === 0, name, `memory at ${ptr}`, `aligned to ${CONTEXT_ALIGNMENT} bytes`);
}
