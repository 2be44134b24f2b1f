import { warn } from '../../src/core/attempt.js';
import { checkUsable } from '../../src/core/errors.js';
import { processState, type Reclaimable } from '../../src/core/process-state.js';
import { type DevicePtr, devicePtr, exactBytes } from '../../src/core/units.js';
import { nativeView } from './native-view.js';

/**
 * Counts the buffers over a range of native memory, so that its addresses go back when the garbage collector has found
 * that none of them is left, and not before: an array that outlives its memory never crashes the process.
 *
 * What ends the range must not refer to the buffers: the registry keeps it alive as long as they live.
 */
export class HeldAddresses {
  #buffers = 0;
  #release: (() => void) | undefined;

  add(buffer: ArrayBuffer): void {
    const state = processState();
    this.#buffers++;
    state.shownBytes += buffer.byteLength;
    state.droppedHandles.register(buffer, new ShownBytes(buffer.byteLength, this));
  }

  /** Ends the memory: `release` runs when no buffer is left, which may be now. */
  end(release: () => void): void {
    this.#release = release;
    this.#releaseUnheld();
  }

  /** Cancels {@link end}: the addresses are used again. */
  resume(): void {
    this.#release = undefined;
  }

  /** Counts one of the buffers less: it was collected. */
  remove(): void {
    this.#buffers--;
    this.#releaseUnheld();
  }

  #releaseUnheld(): void {
    if (this.#buffers > 0 || this.#release === undefined) return;
    const release = this.#release;
    this.#release = undefined;
    release();
  }
}

/** What is known of a buffer over native memory, once it was collected. */
class ShownBytes implements Reclaimable {
  constructor(
    readonly bytes: number,
    readonly addresses: HeldAddresses,
  ) {}

  reclaim(): void {
    processState().shownBytes -= this.bytes;
    this.addresses.remove();
  }
}

/** How a kind of native memory ends. */
export interface NativeMemoryEnd {
  /** What it is, for messages. @defaultValue shared memory backend */
  readonly what?: string;
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
  readonly #addresses = new HeldAddresses();
  retired = false;

  constructor(
    base: number,
    readonly bytes: number,
    readonly end: NativeMemoryEnd,
  ) {
    this.base = devicePtr(base);
    processState().droppedHandles.register(this, droppedMemory(base, bytes, end, this.#addresses), this);
  }

  /** @throws ERR_MEM_DISPOSED after {@link retire} */
  bytesAt(offset: number, bytes: number): Uint8Array {
    checkUsable(!this.retired, whatOf(this.end));
    const buffer = nativeView(this.base + offset, bytes);
    this.#addresses.add(buffer);
    return new Uint8Array(buffer);
  }

  /** Ends it. When that fails, nothing has changed. */
  retire(): void {
    if (this.retired) return;
    const { base, bytes } = this;
    const end = this.end;
    end.empty(base, bytes);
    processState().droppedHandles.unregister(this);
    this.retired = true;
    this.#addresses.end(() => end.release(base, bytes));
  }
}

/** A function of its own, whose closure does not hold the memory: it would never be collected. */
function droppedMemory(base: number, bytes: number, end: NativeMemoryEnd, addresses: HeldAddresses): Reclaimable {
  const reclaim = () =>
    addresses.end(() => {
      warn(`a ${whatOf(end)} of ${exactBytes(bytes)} was dropped without dispose()`);
      end.release(base, bytes);
    });
  return { reclaim };
}

function whatOf({ what = 'shared memory backend' }: NativeMemoryEnd): string {
  return what;
}
