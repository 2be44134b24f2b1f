import type { Device } from '../core/device.js';
import { type DeviceStream, streamIdOf } from '../core/device-stream.js';
import { INSPECT, inspected } from '../core/inspect.js';
import '../core/disposable.js';
import { orUndo } from '../core/attempt.js';
import { checkArgument, checkRange, MemoryError } from '../core/errors.js';
import type { Reclaimable } from '../core/process-state.js';
import * as stackRoom from '../core/stack-room.js';
import type { BufferClass, TypedArrayClass } from '../core/typed-array.js';
import { checkBytes, type DevicePtr, formatBytes, KiB, NULL_PTR } from '../core/units.js';
import { type CopyFromOptions, type CopyToOptions, copyFromBlock, copyToBlock, type HostBytes } from './block-copies.js';
import { viewOf } from './block-views.js';
import { NEW, OLD, type WatchedHandle } from './handle-watch.js';
import { keepAlive } from './keep-alive.js';
import {
  abandon,
  allocateLike,
  type BlockSource,
  type BlockTerms,
  countOld,
  isGone,
  newTerms,
  OwnedBlock,
  release,
  sharable,
  termsOf,
  uncountOld,
} from './owned-block.js';
import { Scope } from './scope.js';

// A binding of its own: V8 looks an imported one up, and checks it, each time.
const { checkStackRoom } = stackRoom;

/** The place of a handle that holds nothing, and all below it. */
const EMPTY = -2;
/** The place of a handle whose block another one has. */
const MOVED = -3;
/** What may be left unused of a block that shrinks. */
const FEW_BYTES = 4 * KiB;
/** What a handle keeps when there are views of its block that it need not find again. */
const PARTS = {};

/**
 * A handle of a block, as `runtime.allocate` gives it: `using block = runtime.allocate(bytes)`. It is the one owner.
 * {@link move} passes the block on, {@link share} turns it into one with several owners; both leave this handle empty.
 * {@link slice} makes a further owner, of a part.
 *
 * After dispose every method but dispose throws ERR_MEM_DISPOSED. A handle that is dropped instead, its views too, is released
 * by the garbage collector's backstop, with a `leak` event.
 */
// The root of all handles, and without a parent: V8 makes an object of a class with one in 30 ns more. Its methods need its
// private fields, so that it is one file of some 450 lines.
export class Allocation implements WatchedHandle {
  readonly #source: BlockSource;
  #ptr: DevicePtr;
  #bytes: number;
  #terms: BlockTerms | undefined;
  /** What lives as long as this handle: the view of the whole block, or the handle that has the block now, for views of this one. */
  #kept: object | undefined = undefined;
  /** Where the watch has this handle; EMPTY or MOVED without a block. */
  #place: number = NEW;

  /** @internal */
  constructor(source: BlockSource, ptr: DevicePtr, bytes: number, terms: BlockTerms | undefined) {
    this.#source = source;
    this.#ptr = ptr;
    this.#bytes = bytes;
    this.#terms = terms;
    this.#place = source.watch.enter(this, bytes);
  }

  /** The address of the block; 0 for a handle of no bytes. */
  get ptr(): DevicePtr {
    this.#check();
    return this.#ptr;
  }

  /** The bytes that were asked for. */
  get bytes(): number {
    this.#check();
    return this.#bytes;
  }

  /** The device whose memory it is. */
  get device(): Device {
    this.#check();
    return this.#source.device;
  }

  /** The kind of its device, such as `cpu`. */
  get deviceName(): string {
    return this.device.name;
  }

  /** True when this handle holds nothing any more: disposed, moved away, or its runtime was closed. */
  get disposed(): boolean {
    return this.#place <= EMPTY || isGone(this.#source, this.#terms);
  }

  /** Passes the block on to a new handle, which belongs to no scope. */
  move(): Allocation {
    this.#check();
    checkStackRoom();
    return this.#passOn(new Allocation(this.#source, this.#ptr, this.#bytes, this.#terms));
  }

  /** Passes the block on to a counted handle, which belongs to no scope. */
  share(): SharedHandle {
    this.#check();
    checkStackRoom();
    const ptr = this.#ptr;
    const bytes = this.#bytes;
    return this.#passOn(new SharedHandle(this.#source, ptr, bytes, this.#terms ?? sharable(ptr, bytes)));
  }

  /**
   * Makes a handle of a part, which keeps the whole block: that is freed when this handle and all slices are disposed of.
   * Addresses, views and copies of a slice are the part's. It belongs to the scope that is open now, as a block that is
   * allocated now does.
   *
   * @param offsetBytes - where in this handle the part begins
   * @param bytes - as many as follow when left out
   * @throws ERR_MEM_OUT_OF_RANGE
   */
  slice(offsetBytes = 0, bytes: number = this.bytes - offsetBytes): Allocation {
    checkRange(offsetBytes, bytes, this.bytes);
    checkStackRoom();
    const terms = this.#terms ?? this.#makeTerms();
    const part = new Allocation(this.#source, (this.#ptr + offsetBytes) as DevicePtr, bytes, terms);
    terms.owners++;
    Scope.current(this.#source.host)?.adopt(part);
    return part;
  }

  /**
   * Changes the bytes of the block, and keeps what was in them as far as they go on; further ones hold anything.
   *
   * It stays where it is when the manager's block has the room, unless more than half of that, and more than 4 KiB, would
   * be unused after shrinking, or all of it. Else it moves to a new block, with the same alignment, stream and tag, on its
   * device (on the active one when it had no bytes). Arrays over the block that were made before have the former length, and
   * may show another block's bytes from then on: make new ones.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT when the block has further owners, slices included
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_MEMORY; nothing has changed then, nor when a copy or a free fails
   * @see Source: mi_realloc of mimalloc, for the half
   */
  resize(bytes: number): void {
    checkBytes(bytes);
    checkStackRoom();
    const terms = this.#soleTerms();
    const source = this.#source;
    const ptr = this.#ptr;
    const room = terms === undefined || terms.ptr === ptr ? source.slot.allocated(ptr) : 0;
    const unused = room - bytes;
    if (unused >= 0 && (bytes >= this.#bytes || (bytes > 0 && unused <= Math.max(bytes, FEW_BYTES)))) {
      const { charge } = source;
      const former = this.#bytes;
      // The block is charged as a whole: the last slice of it may be a part.
      const charged = terms?.bytes ?? former;
      const more = bytes > charged ? bytes - charged : 0;
      if (more > 0) charge?.take(more);
      // Listeners that make room for a tenant may use this handle, and so may a manager.
      const isStill = () => this.#isStill(ptr, former, terms);
      try {
        if (room > 0 && isStill()) source.slot.resized(ptr, bytes);
      } catch (error) {
        charge?.give(more);
        throw error;
      }
      if (!isStill()) {
        charge?.give(more);
        this.#check();
        this.resize(bytes);
        return;
      }
      if (bytes < charged) charge?.give(charged - bytes);
      this.#unwatch(this.#place);
      if (terms !== undefined) terms.bytes = bytes;
      this.#become(ptr, bytes, terms);
      return;
    }
    const next = allocateLike(source, terms?.ptr ?? ptr, bytes);
    orUndo(
      () => this.#moveTo(next, bytes),
      () => abandon(source, next, bytes),
    );
  }

  /**
   * Shows the block, or a part of it, as an array without copying. Its `buffer` spans the segment that the block lies in.
   * The array keeps the handle, but what is made of it (`subarray`, an array over its `buffer`) does not. Of the whole block
   * a handle gives the array of the time before again, when that was of the same class.
   *
   * @param type - a typed array class, `DataView` or `Buffer`
   * @defaultValue type is Uint8Array
   * @param offsetBytes - where in the block it begins; a multiple of the element's size
   * @param length - elements (bytes for a `DataView`); as many as fit when left out
   * @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_UNSUPPORTED_PLATFORM for memory that the host cannot see
   */
  view(type?: undefined, offsetBytes?: number, length?: number): Uint8Array;
  view<T>(type: TypedArrayClass<T> | BufferClass<T>, offsetBytes?: number, length?: number): T;
  view(type: DataViewConstructor, offsetBytes?: number, length?: number): DataView;
  view(type: object = Uint8Array, offsetBytes = 0, length?: number): object {
    this.#check();
    const isWhole = offsetBytes === 0 && length === undefined;
    const kept = this.#kept;
    if (isWhole && kept !== undefined && kept.constructor === type) return kept;
    // Its own fields: as properties of the handle, each would be checked again.
    const block = { device: this.#source.device, ptr: this.#ptr, bytes: this.#bytes };
    const view = viewOf(type as TypedArrayClass<object>, block, offsetBytes, length);
    keepAlive(view, this);
    this.#kept = isWhole && this.#source.device.viewsLast ? view : (kept ?? PARTS);
    return view;
  }

  /**
   * Copies the block, or a part of it, into a buffer of its own, which can be cloned, posted and transferred. (The buffer of
   * a view spans the segment: to clone or post a view copies all of that, bytes of other blocks too.)
   *
   * @throws ERR_MEM_OUT_OF_RANGE
   */
  toBuffer(offsetBytes = 0, bytes: number = this.bytes - offsetBytes): ArrayBuffer {
    checkRange(offsetBytes, bytes, this.bytes);
    const buffer = new ArrayBuffer(bytes);
    this.copyTo(buffer, { offsetBytes });
    return buffer;
  }

  /** Sets every byte of the block to `value`, 0 to 255. */
  fill(value: number): void {
    const { ptr, device } = this;
    if (this.#bytes > 0) device.fill(ptr, value, this.#bytes);
  }

  /**
   * Copies to the block, also where the host cannot see it, and returns when that is done. Ranges of one block may overlap.
   * From a block of another device it goes by way of the host.
   *
   * @param source - memory of JavaScript, or a handle
   * @throws ERR_MEM_OUT_OF_RANGE when a range leaves its end, before anything is copied
   * @throws ERR_MEM_INVALID_ARGUMENT for a source that holds no bytes and for unknown options
   */
  copyFrom(source: HostBytes | Allocation, options: CopyFromOptions = {}): void {
    copyToBlock(this, source, options);
  }

  /** Copies from the block, as {@link copyFrom} does to it. @throws as that does */
  copyTo(target: HostBytes | Allocation, options: CopyToOptions = {}): void {
    copyFromBlock(this, target, options);
  }

  /**
   * Marks a further stream of the device that uses the block: once freed it is used again only when that stream is done, too.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM when the device has no streams or the manager keeps no stream order
   */
  recordStream(stream: DeviceStream | number): void {
    this.#check();
    const id = streamIdOf(stream);
    const ptr = this.#terms?.ptr ?? this.#ptr;
    if (ptr !== NULL_PTR) this.#source.slot.recordStream(ptr, id);
  }

  /**
   * Gives the block back, or this handle's share of it. Does nothing for a handle that holds nothing. The handle is empty
   * before the native function or `onFreed` is called; it has its block again only when the block could not be freed.
   */
  dispose(): void {
    if (this.#place <= EMPTY) return;
    checkStackRoom();
    const terms = this.#terms;
    const isFreed = this.#release();
    this.#kept = undefined;
    if (isFreed && terms !== undefined) terms.onFreed?.();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `Allocation { cpu 0x7f12c0000000, 1.00 MiB }`, `Allocation { disposed }`, `Allocation { moved }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => {
      if (this.disposed) return [this.#place === MOVED ? 'moved' : 'disposed'];
      const { owners = 1 } = this.#terms ?? {};
      const place = `${this.#source.device.name} 0x${this.#ptr.toString(16)}`;
      return [place, formatBytes(this.#bytes), ...(owners === 1 ? [] : [`${owners} owners`])];
    });
  }

  /** @internal */
  register(registry: FinalizationRegistry<Reclaimable>): number {
    // The call before may have failed after it had registered this handle.
    if (this.#place >= OLD) return this.#place;
    const source = this.#source;
    const terms = this.#terms;
    const device = source.deviceOf(terms?.ptr ?? this.#ptr);
    registry.register(this, new OwnedBlock(source, this.#ptr, this.#bytes, terms, device), this);
    this.#place = OLD + device;
    countOld(source, this.#bytes, terms, device);
    return this.#place;
  }

  /** @internal */
  endGone(): (() => void) | undefined {
    const source = this.#source;
    const terms = this.#terms;
    if (this.#place <= EMPTY || source.slot.closed) return undefined;
    if (terms === undefined || (source.charge === undefined && terms.onFreed === undefined)) return undefined;
    const isFreed = release(source, this.#ptr, this.#bytes, terms);
    this.#place = EMPTY;
    return isFreed ? terms.onFreed : undefined;
  }

  /** Gives the block back for a program that never got this handle: at a cleanup at the latest. @internal */
  abandon(): void {
    const owned = this.#owned;
    this.#leave();
    owned.abandon();
  }

  /** What this handle has. @throws ERR_MEM_DISPOSED @internal */
  protected get owned(): OwnedBlock {
    this.#check();
    return this.#owned;
  }

  get #owned(): OwnedBlock {
    return new OwnedBlock(this.#source, this.#ptr, this.#bytes, this.#terms);
  }

  /** @throws ERR_MEM_DISPOSED */
  #check(): void {
    if (this.disposed) throw emptyHandle(this.#place === MOVED);
  }

  /** What the block has beside its bytes. @throws ERR_MEM_DISPOSED, ERR_MEM_INVALID_ARGUMENT when it has further owners */
  #soleTerms(): BlockTerms | undefined {
    this.#check();
    const terms = this.#terms;
    checkArgument((terms?.owners ?? 1) === 1, 'owners', terms?.owners, '1: slices and shared handles refer to the block');
    return terms;
  }

  /** Whether this handle still has the same bytes of a block, alone. */
  #isStill(ptr: DevicePtr, bytes: number, terms: BlockTerms | undefined): boolean {
    const isSame = this.#ptr === ptr && this.#bytes === bytes && this.#terms === terms;
    return isSame && !this.disposed && (terms?.owners ?? 1) === 1;
  }

  /** Takes the content to a new block, and frees the old one. */
  #moveTo(next: DevicePtr, bytes: number): void {
    const source = this.#source;
    let terms: BlockTerms | undefined;
    let ptr: DevicePtr;
    let former: number;
    do {
      // Whoever was asked for memory may have used this handle, and so may who copies.
      terms = this.#soleTerms();
      ptr = this.#ptr;
      former = this.#bytes;
      const keptBytes = Math.min(bytes, former);
      if (keptBytes > 0) source.device.copy(next, ptr, keptBytes);
    } while (!this.#isStill(ptr, former, terms));
    const nextTerms = termsOf(source, next, bytes, terms && newTerms(bytes, terms.onFreed));
    this.#release();
    this.#become(next, bytes, nextTerms);
  }

  /** Gives the block back, or a share of it. The handle is empty meanwhile, and afterwards. @returns whether that freed the block */
  #release(): boolean {
    const place = this.#place;
    const source = this.#source;
    let isFreed = false;
    this.#place = EMPTY;
    try {
      isFreed = release(source, this.#ptr, this.#bytes, this.#terms);
    } catch (error) {
      // First of all, and without a call: the stack may have ended.
      this.#place = place;
      source.watch.goOn(this, place);
      throw error;
    }
    this.#unwatch(place);
    return isFreed;
  }

  /** Has another block from now on, or another part of this one. */
  #become(ptr: DevicePtr, bytes: number, terms: BlockTerms | undefined): void {
    this.#ptr = ptr;
    this.#bytes = bytes;
    this.#terms = terms;
    if (this.#kept !== undefined) this.#kept = PARTS;
    this.#place = NEW;
    this.#place = this.#source.watch.enter(this, bytes);
  }

  /** Lets the block have several owners. What is registered of the handle knows of it, too. */
  #makeTerms(): BlockTerms {
    const isOld = this.#place >= OLD;
    if (isOld) {
      this.#unwatch(this.#place);
      this.#place = NEW;
    }
    const terms = sharable(this.#ptr, this.#bytes);
    this.#terms = terms;
    if (isOld) this.#source.watch.register(this);
    return terms;
  }

  /** Empties this handle. */
  #leave(): void {
    const place = this.#place;
    this.#place = EMPTY;
    this.#unwatch(place);
  }

  #unwatch(place: number): void {
    if (place < OLD) this.#source.watch.leave(this, place);
    else this.#unregister(place);
  }

  /** Apart: few handles grow old, and V8 inlines so much bytecode, and no more. */
  #unregister(place: number): void {
    this.#source.watch.registry.unregister(this);
    uncountOld(this.#source, this.#bytes, this.#terms, place - OLD);
  }

  /** Leaves this handle empty: the block is that one's now, and views of this one keep it. */
  #passOn<Handle extends Allocation>(next: Handle): Handle {
    this.#leave();
    this.#place = MOVED;
    if (this.#kept === undefined) return next;
    this.#kept = next;
    next.#kept = PARTS;
    return next;
  }
}

function emptyHandle(moved: boolean): MemoryError {
  return new MemoryError('ERR_MEM_DISPOSED', { what: 'allocation', ...(moved ? { moved } : {}) });
}

/** One of the owners of a block: the last one that is disposed frees it. */
export class SharedHandle extends Allocation {
  /** Passes this share on to a new handle, which belongs to no scope. */
  override move(): SharedHandle {
    return super.share();
  }

  /** Makes one more owner. */
  override share(): SharedHandle {
    checkStackRoom();
    const { source, ptr, bytes, terms } = this.owned;
    const next = new SharedHandle(source, ptr, bytes, terms);
    terms!.owners++;
    return next;
  }

  /** How many owners the block has, slices included. */
  get owners(): number {
    return this.owned.terms!.owners;
  }
}
