import { MemoryError } from '../../src/core/errors.js';
import { processState, type Reclaimable } from '../../src/core/process-state.js';
import { type DevicePtr, devicePtr } from '../../src/core/units.js';
import { nativeView } from './native-view.js';

/** How a kind of native memory ends. */
export interface NativeMemoryEnd {
  /** What it is, for messages. @defaultValue shared memory backend */
  readonly what?: string;
  /** What its user calls to give it back, for messages. @defaultValue detach() */
  readonly endedBy?: string;
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
export class NativeMemory {
  readonly base: DevicePtr;
  readonly bytes: number;
  readonly #end: NativeMemoryEnd;
  readonly #addresses: Addresses;

  constructor(base: number, bytes: number, end: NativeMemoryEnd) {
    this.base = devicePtr(base);
    this.bytes = bytes;
    this.#end = end;
    this.#addresses = new Addresses(base, bytes, end);
    processState().droppedHandles.register(this, this.#addresses, this);
  }

  get retired(): boolean {
    return this.#addresses.retired;
  }

  /** @throws ERR_MEM_DISPOSED after {@link retire} */
  bytesAt(offset: number, bytes: number): Uint8Array {
    if (this.retired) throw new MemoryError('ERR_MEM_DISPOSED', { what: this.#addresses.what });
    const buffer = nativeView(this.base + offset, bytes);
    this.#addresses.viewedBy(buffer);
    return new Uint8Array(buffer);
  }

  /** Ends it. When that fails, nothing has changed. */
  retire(): void {
    if (this.retired) return;
    this.#end.empty(this.base, this.bytes);
    processState().droppedHandles.unregister(this);
    this.#addresses.retire();
  }
}

/** Counts what leads to a range. It must not refer to any of it: the registry keeps it alive as long as that lives. */
class Addresses implements Reclaimable {
  readonly what: string;
  retired = false;
  /** The memory itself, and the buffers over it. */
  #holders = 1;
  readonly #end: NativeMemoryEnd;
  readonly #base: number;
  readonly #bytes: number;

  constructor(base: number, bytes: number, end: NativeMemoryEnd) {
    this.what = end.what ?? 'shared memory backend';
    this.#end = end;
    this.#base = base;
    this.#bytes = bytes;
  }

  viewedBy(buffer: ArrayBuffer): void {
    this.#holders++;
    processState().droppedHandles.register(buffer, this);
  }

  retire(): void {
    this.retired = true;
    this.#drop();
  }

  /** One of the buffers, or memory that nobody retired, was collected. */
  reclaim(): void {
    this.#drop();
  }

  #drop(): void {
    this.#holders--;
    if (this.#holders > 0) return;
    const { endedBy = 'detach()' } = this.#end;
    if (!this.retired) process.emitWarning(`a ${this.what} of ${this.#bytes} bytes was dropped without ${endedBy}`);
    this.#end.release(this.#base, this.#bytes);
  }
}
