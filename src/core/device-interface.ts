import { MemoryError } from './errors.js';
import type { DevicePtr } from './units.js';

/** A part of a reserved range. */
export interface MemoryPart {
  readonly ptr: DevicePtr;
  readonly bytes: number;
}

/**
 * The pieces that a device's memory is mapped in, where each is taken away as one. Few large ones take fewer native calls than
 * many small ones.
 */
export interface MemoryPieces {
  /** The pieces that lie in a committed part as a whole, side by side; 0 bytes when there is none. */
  wholeIn(ptr: DevicePtr, bytes: number): MemoryPart;
  /**
   * Lets commits during an action use the memory that decommits during the action have taken away: memory is mapped elsewhere
   * before new memory is made. What is left of it at the end goes back to the device.
   *
   * @param unitBytes - pieces that are no multiple of it are not used again: who keeps pages larger than the granularity takes none
   * that end within a page. @defaultValue the granularity
   */
  reusing<T>(action: () => T, unitBytes?: number): T;
}

/**
 * Virtual memory of a device: address ranges that are reserved first and backed page by page.
 * All sizes and offsets are multiples of `granularityBytes`.
 */
export interface VirtualMemory {
  /** The size of a page, the unit of every call below. */
  readonly granularityBytes: number;
  /**
   * Whether {@link decommit} makes the program wait for the device, or the device for it: a manager had better keep pages a
   * little longer there.
   *
   * @defaultValue false
   */
  readonly decommitStops?: boolean | undefined;
  /**
   * Where {@link decommit} takes whole pieces alone, what pieces there are; undefined where it takes any pages.
   *
   * @defaultValue undefined
   */
  readonly pieces?: MemoryPieces | undefined;
  /**
   * Reserves an address range on the active device; nothing backs it yet.
   *
   * @returns its start, or 0 when no such range is left
   */
  reserve(bytes: number): DevicePtr;
  /** Gives a whole reserved range back. A manager decommits its pages first; what is still committed goes along. */
  release(ptr: DevicePtr, bytes: number): void;
  /**
   * Backs a part of a reserved range, none of which is committed, with memory.
   *
   * @param pieceBytes - for a device with {@link pieces}: how large new ones are, from the start of the part on; the last one may be
   * smaller. A page each when left out
   * @returns false when the device has no memory left; nothing has changed then
   */
  commit(ptr: DevicePtr, bytes: number, pieceBytes?: number): boolean;
  /**
   * Takes the memory of a committed part away: single pages, or whole pieces where there are {@link pieces}. The addresses stay
   * reserved, and the content is lost.
   *
   * @param isIdle - true when the caller has waited for the streams that used the part: the device need not wait for all of its
   * work then. False when left out
   */
  decommit(ptr: DevicePtr, bytes: number, isIdle?: boolean): void;
}

/**
 * Order of work on a device's streams. A stream and an event are the device's own numbers. Each device has a default stream:
 * 0 is that of the active one, here; for memory, 0 is that of the memory's device.
 */
export interface StreamOperations {
  /** The number of a device's default stream, which names it whichever device is active. */
  defaultStream(device: number): number;
  /**
   * Marks the present end of a stream's work.
   *
   * @returns an event, to be given back with `destroy`
   * @throws ERR_MEM_INVALID_ARGUMENT for no stream of the device, or one that was closed: closing waits for its work
   */
  record(stream: number): number;
  /** Tells whether all work before the event is done. */
  query(event: number): boolean;
  /** Lets later work of `stream` begin only after the event. */
  wait(stream: number, event: number): void;
  /** Blocks until all work before the event is done. */
  synchronize(event: number): void;
  /** Tells whether an event stands for work that is being captured as a graph, so that nobody can wait for it now. @defaultValue never */
  isCaptured?(event: number): boolean;
  /** Gives an event back. */
  destroy(event: number): void;
}

/** What a host or device supplies for one kind of memory. */
export interface NativeFunctions {
  /** How many devices there are, where that is known and never changes: with one, a manager need not ask which is active. */
  readonly deviceCount?: number | undefined;
  /** The id of the device that allocations go to. */
  getActiveDeviceId: () => number;
  /** The capacity of a device in bytes. */
  getMaxMemorySize: (device: number) => number;
  /**
   * Allocates a segment on the active device.
   *
   * @param bytes - a positive size
   * @param alignment - bytes, a power of two; the device's own when left out
   * @returns its address. 0 or a throw means out of memory, unless it is a MemoryError with another code
   */
  nativeAlloc: (bytes: number, alignment?: number) => DevicePtr;
  /** Frees a segment, whichever device is active. */
  nativeFree: (ptr: DevicePtr) => void;
  /** The pressure from 0 to 1 above which an engine evaluates pending work to free memory. */
  getMemoryPressureThreshold: () => number;
  setMemoryPressureThreshold: (value: number) => void;
  /** Reserve and commit, where the device has it. */
  virtual?: VirtualMemory | undefined;
  /** Streams, where the device has them. */
  streams?: StreamOperations | undefined;
}

function unset(functionName: string): () => never {
  return () => {
    throw new MemoryError('ERR_MEM_NOT_INSTALLED', { functionName });
  };
}

/**
 * The callback table through which a manager reaches its device. One table serves one manager in one slot.
 *
 * Its functions are plain properties. An installer sets them; a test may set them by hand.
 * Until then each throws ERR_MEM_NOT_INSTALLED.
 */
export class MemoryManagerDeviceInterface implements NativeFunctions {
  getActiveDeviceId: NativeFunctions['getActiveDeviceId'] = unset('getActiveDeviceId');
  getMaxMemorySize: NativeFunctions['getMaxMemorySize'] = unset('getMaxMemorySize');
  /**
   * How many bytes of a device this manager may hold at most now: its capacity, or less where budgets leave its slot less. It changes
   * as they do, and is not what is free: what others hold and could give back counts as this manager's. For decisions about how much
   * to get at once, and what to give back before that; a native call alone tells whether there is memory.
   *
   * Cost: O(members) of the budgets; that of {@link getMaxMemorySize} without one.
   *
   * @defaultValue {@link getMaxMemorySize}
   */
  getMaxReservedSize: (device: number) => number = (device) => this.getMaxMemorySize(device);
  nativeAlloc: NativeFunctions['nativeAlloc'] = unset('nativeAlloc');
  nativeFree: NativeFunctions['nativeFree'] = unset('nativeFree');
  getMemoryPressureThreshold: NativeFunctions['getMemoryPressureThreshold'] = unset('getMemoryPressureThreshold');
  setMemoryPressureThreshold: NativeFunctions['setMemoryPressureThreshold'] = unset('setMemoryPressureThreshold');
  deviceCount: number | undefined = undefined;
  virtual: VirtualMemory | undefined = undefined;
  streams: StreamOperations | undefined = undefined;
  #natives: NativeFunctions | undefined;
  #claim: { readonly manager: { readonly name: string }; readonly slot: object } | undefined;

  /** Lets {@link getActiveDeviceId}, called on this table, ask a host's functions. Slots call it. */
  askActiveDevice(natives: NativeFunctions): void {
    this.#natives = natives;
    this.getActiveDeviceId = this.#activeDeviceId;
  }

  // One function for all tables: V8 inlines it on the hot path, which it does not with one that is made for each.
  #activeDeviceId(): number {
    // The only device is the active one: a host may take long to say so.
    return this.deviceCount === 1 ? 0 : this.#natives!.getActiveDeviceId();
  }

  /** @throws ERR_MEM_TABLE_IN_USE when this table serves another manager, or the same one in another slot */
  checkClaim(manager: { readonly name: string }, slot: object): void {
    if (this.#claim !== undefined && (this.#claim.manager !== manager || this.#claim.slot !== slot)) {
      throw new MemoryError('ERR_MEM_TABLE_IN_USE', { manager: this.#claim.manager.name });
    }
  }

  /** Binds this table to one manager in one slot. Slots call it. @throws ERR_MEM_TABLE_IN_USE */
  claim(manager: { readonly name: string }, slot: object): void {
    this.checkClaim(manager, slot);
    this.#claim = { manager, slot };
  }

  /** Ends the binding. Slots call it. */
  unclaim(): void {
    this.#claim = undefined;
  }
}
