import type { Device } from '../core/device.js';
import '../core/disposable.js';
import { badArgument, checkRange, MemoryError } from '../core/errors.js';
import { processState } from '../core/process-state.js';
import type { DevicePtr } from '../core/units.js';
import type { OwnedBlock } from './owned-block.js';

/** A typed array class, such as `Float32Array`. */
export interface TypedArrayClass<T> {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): T;
  readonly BYTES_PER_ELEMENT: number;
}

/**
 * What every handle of a block can do. After dispose every method but dispose throws ERR_MEM_DISPOSED.
 *
 * A handle that is dropped instead is released by the garbage collector's backstop, with a `leak` event.
 */
export abstract class BlockHandle {
  #owned: OwnedBlock | undefined;

  /** @internal */
  constructor(owned: OwnedBlock) {
    this.#owned = owned;
    processState().droppedHandles.register(this, owned, this);
  }

  /** The address of the block; 0 for a handle of no bytes. */
  get ptr(): DevicePtr {
    return this.block.ptr;
  }

  /** The bytes that were asked for. */
  get bytes(): number {
    return this.block.bytes;
  }

  /** The device whose memory it is. */
  get device(): Device {
    return this.block.device;
  }

  /** The kind of its device, such as `cpu`. */
  get deviceName(): string {
    return this.block.device.name;
  }

  /** True when this handle holds nothing any more: disposed, moved away, or its runtime was closed. */
  get disposed(): boolean {
    return this.#owned === undefined || this.#owned.gone;
  }

  /**
   * Shows the block, or a part of it, as a typed array without copying. Its `buffer` spans the segment that the block lies in.
   *
   * @param type - the array's class, `Float32Array` say
   * @param offsetBytes - where in the block it begins; a multiple of the element's size
   * @param length - elements; as many as fit when left out
   * @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_UNSUPPORTED_PLATFORM for memory that the host cannot see
   */
  view<T>(type: TypedArrayClass<T>, offsetBytes = 0, length?: number): T {
    const { device, ptr, bytes } = this.block;
    const elementBytes = type.BYTES_PER_ELEMENT;
    const count = length ?? Math.floor((bytes - offsetBytes) / elementBytes);
    checkRange(offsetBytes, count * elementBytes, bytes);
    if (count === 0) return new type(new ArrayBuffer(0), 0, 0);
    const seen = device.view((ptr + offsetBytes) as DevicePtr, count * elementBytes);
    if (seen.byteOffset % elementBytes !== 0) {
      throw badArgument('offsetBytes', offsetBytes, `a multiple of ${elementBytes} bytes in memory`);
    }
    return new type(seen.buffer, seen.byteOffset, count);
  }

  /**
   * Copies the block, or a part of it, into a buffer of its own, which can be cloned, posted and transferred. (The buffer of
   * a view spans the segment: to clone or post a view copies all of that, bytes of other blocks too.)
   *
   * @throws as {@link view}
   */
  toBuffer(offsetBytes = 0, bytes: number = this.bytes - offsetBytes): ArrayBuffer {
    return this.view(Uint8Array, offsetBytes, bytes).slice().buffer as ArrayBuffer;
  }

  /** Sets every byte of the block to `value`, 0 to 255. */
  fill(value: number): void {
    const { device, ptr, bytes } = this.block;
    if (bytes > 0) device.fill(ptr, value, bytes);
  }

  /**
   * Copies from another block of the same kind of device.
   *
   * @param source - its first `bytes` bytes are copied to this block's beginning
   * @param bytes - as many as both hold when left out
   * @throws ERR_MEM_OUT_OF_RANGE when either block is shorter
   * @throws ERR_MEM_INVALID_ARGUMENT for a block of another kind of device
   */
  copyFrom(source: BlockHandle, bytes: number = Math.min(this.bytes, source.bytes)): void {
    checkRange(0, bytes, this.bytes);
    checkRange(0, bytes, source.bytes);
    const { device } = this.block;
    if (source.deviceName !== device.name) {
      throw badArgument('source', `a block of ${source.deviceName}`, `one of ${device.name}`);
    }
    if (bytes > 0) device.copy(this.ptr, source.ptr, bytes);
  }

  /**
   * Marks a further stream of the device that uses the block: once freed it is used again only when that stream is done, too.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM when the device has no streams or the manager keeps no stream order
   */
  recordStream(stream: number): void {
    const { slot, ptr, bytes } = this.block;
    if (bytes > 0) slot.recordStream(ptr, stream);
  }

  /**
   * Gives the block back, or this handle's share of it. Does nothing for a handle that holds nothing. The handle is empty
   * before the native function or `onFreed` is called; it has its block again only when the block could not be freed.
   */
  dispose(): void {
    const owned = this.#owned;
    if (owned === undefined) return;
    this.#owned = undefined;
    let isFreed = false;
    try {
      isFreed = owned.release();
    } catch (error) {
      this.#owned = owned;
      throw error;
    }
    processState().droppedHandles.unregister(this);
    if (isFreed) owned.onFreed?.();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The block. @throws ERR_MEM_DISPOSED */
  protected get block(): OwnedBlock {
    if (this.#owned === undefined || this.#owned.gone) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'allocation' });
    return this.#owned;
  }

  /** Leaves this handle without its block. @returns the block @throws ERR_MEM_DISPOSED */
  protected detach(): OwnedBlock {
    const { block } = this;
    processState().droppedHandles.unregister(this);
    this.#owned = undefined;
    return block;
  }
}
