import { MemoryError } from '../core/errors.js';
import { BlockRows, Lifetime, NONE } from './block-rows.js';
import { DeviceHeap } from './device-heap.js';
import { NOT_LIVE } from './kernel-interface.js';

/** The heaps of a manager, one a device. A block is found in whichever it lies. */
export class DeviceHeaps extends BlockRows {
  readonly #heaps: (DeviceHeap | undefined)[] = [];
  #open: readonly DeviceHeap[] = [];
  /** The heap that a block was found in last: most programs use one for a time. */
  #recent: DeviceHeap | undefined;

  constructor() {
    super(new Lifetime());
  }

  /** Those that are open, in the order of devices. */
  get all(): readonly DeviceHeap[] {
    return this.#open;
  }

  /** Opens the heap of a device that has none. @throws ERR_MEM_NO_WEBASSEMBLY; ERR_MEM_DISPOSED after {@link closeAll} */
  open(device: number): DeviceHeap {
    this.lifetime.checkOpen();
    const heap = new DeviceHeap(device);
    this.#heaps[device] = heap;
    this.#listOpen();
    return heap;
  }

  /** Closes the heap of a device; does nothing where there is none. */
  close(device: number): void {
    const heap = this.#heaps[device];
    if (heap === undefined) return;
    heap.close();
    this.#heaps[device] = undefined;
    this.#listOpen();
  }

  /** Closes all heaps for good. */
  closeAll(): void {
    for (const { device } of this.#open) this.close(device);
    this.lifetime.end();
  }

  /** The heap of a device, or undefined. */
  get(device: number): DeviceHeap | undefined {
    return this.#heaps[device];
  }

  /** The heap of a device. @throws ERR_MEM_INVALID_DEVICE when there is none */
  of(device: number): DeviceHeap {
    const heap = this.#heaps[device];
    if (heap !== undefined) return heap;
    throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device, deviceCount: this.#heaps.length });
  }

  /** Bytes of all heaps in the kernel. */
  get metadataBytes(): number {
    return this.#open.reduce((sum, heap) => sum + heap.metadataBytes, 0);
  }

  /** As {@link DeviceHeap.find}. O(devices). */
  find(address: number): number {
    for (const heap of this.#open) {
      const block = heap.find(address);
      if (block !== NONE) return block;
    }
    return NONE;
  }

  /** As {@link DeviceHeap.findLive}. O(1), O(devices) where the block is on another device than the last one was. */
  findLive(address: number): number {
    const recent = this.#recent;
    const block = recent === undefined ? NONE : recent.findLive(address);
    return block === NONE && this.#open.length > 1 ? this.#findLiveElsewhere(address) : block;
  }

  /** As {@link DeviceHeap.release}; which devices there are, as {@link findLive}. */
  release(address: number, locks: number): number {
    const recent = this.#recent;
    const outcome = recent === undefined ? NOT_LIVE : recent.release(address, locks);
    if (outcome !== NOT_LIVE || this.#open.length <= 1) return outcome;
    return this.#findLiveElsewhere(address) === NONE ? NOT_LIVE : this.#recent!.release(address, locks);
  }

  /** Every block of all heaps. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (const heap of this.#open) yield* heap;
  }

  /** Checks every heap, in O(blocks). @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    for (const heap of this.#open) heap.checkInvariants();
  }

  #listOpen(): void {
    this.#open = this.#heaps.filter((heap) => heap !== undefined);
    this.#recent = this.#open[0];
  }

  #findLiveElsewhere(address: number): number {
    for (const heap of this.#open) {
      const block = heap.findLive(address);
      if (block === NONE) continue;
      this.#recent = heap;
      return block;
    }
    return NONE;
  }
}
