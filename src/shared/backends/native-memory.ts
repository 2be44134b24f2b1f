import { nativeView } from '../../../adapters/os/native-view.js';
import { MemoryError } from '../../core/errors.js';
import { processState, type Reclaimable } from '../../core/process-state.js';
import { type DevicePtr, devicePtr } from '../../core/units.js';
import type { RegionMemory } from '../shared-region.js';

/** How a kind of native memory ends. */
export interface NativeMemoryEnd {
  /** Gives the memory back, while the addresses stay mapped and read as zeros. */
  readonly empty: (base: number, bytes: number) => void;
  /** Gives the addresses back. */
  readonly release: (base: number, bytes: number) => void;
}

/**
 * Native memory under arrays that may outlive it. {@link retire} gives the memory back at once, but the addresses only
 * when the garbage collector has found that no array over them is left: until then an old array shows zeros.
 *
 * Memory that was dropped without being retired goes the same way, with a process warning: nothing but a bare address
 * can lead to it then.
 */
export class NativeMemory implements RegionMemory {
  readonly base: DevicePtr;
  readonly bytes: number;
  readonly #end: NativeMemoryEnd;
  readonly #addresses: Addresses;

  constructor(base: number, bytes: number, end: NativeMemoryEnd) {
    this.base = devicePtr(base);
    this.bytes = bytes;
    this.#end = end;
    this.#addresses = new Addresses(bytes, () => end.release(base, bytes));
  }

  /** @throws ERR_MEM_DISPOSED after {@link retire} */
  bytesAt(offset: number, bytes: number): Uint8Array {
    if (this.#addresses.retired) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'shared region' });
    const buffer = nativeView(this.base + offset, bytes);
    this.#addresses.viewedBy(buffer);
    return new Uint8Array(buffer);
  }

  /** Ends it. When that fails, nothing has changed. */
  retire(): void {
    if (this.#addresses.retired) return;
    this.#end.empty(this.base, this.bytes);
    this.#addresses.retire();
  }
}

/** Counts the buffers over a range. It must not refer to them: the registry keeps it alive as long as they live. */
class Addresses implements Reclaimable {
  retired = false;
  #buffers = 0;
  readonly #bytes: number;
  readonly #release: () => void;

  constructor(bytes: number, release: () => void) {
    this.#bytes = bytes;
    this.#release = release;
  }

  viewedBy(buffer: ArrayBuffer): void {
    this.#buffers++;
    processState().droppedHandles.register(buffer, this);
  }

  retire(): void {
    this.retired = true;
    if (this.#buffers === 0) this.#release();
  }

  /** One of the buffers was collected. */
  reclaim(): void {
    this.#buffers--;
    if (this.#buffers > 0) return;
    if (!this.retired) process.emitWarning(`a shared memory backend of ${this.#bytes} bytes was dropped without detach()`);
    this.#release();
  }
}
