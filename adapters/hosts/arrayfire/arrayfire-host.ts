import { attempt } from '../../../src/core/attempt.js';
import { MemoryError } from '../../../src/core/errors.js';
import { atExit, forgetAtExit } from '../../../src/core/exit-hook.js';
import type { ManagerSlot } from '../../../src/core/manager-slot.js';
import type { MemoryHostOptions } from '../../../src/core/memory-host.js';
import type { MemoryManagerAdapter } from '../../../src/core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../../../src/core/memory-manager-installer.js';
import { checkOptionNames, type OptionNames } from '../../../src/core/option-names.js';
import type { NativeLibrary } from '../../ffi/library.js';
import { NativeHost } from '../native-host.js';
import { arrayFireCallbacks, type CallbackContext } from './arrayfire-callbacks.js';
import { ArrayFireHandle } from './arrayfire-handle.js';
import { ArrayFireLibrary, type ArrayFireLibraryOptions } from './arrayfire-library.js';
import { ForeignPointers } from './foreign-pointers.js';

export interface ArrayFireHostOptions
  extends ArrayFireLibraryOptions,
    Pick<MemoryHostOptions, 'createDefaultManager' | 'createFallbackManager'> {
  /** Serves ArrayFire's pinned memory, too. Its CPU backend has none. @defaultValue false */
  readonly pinned?: boolean;
}

const OPTIONS: OptionNames<ArrayFireHostOptions> = {
  pinned: true,
  library: true,
  synchronousCalls: true,
  createDefaultManager: true,
  createFallbackManager: true,
};

/** One of ArrayFire's kinds of memory, as this host serves it. */
type Seat = Pick<CallbackContext, 'slot' | 'handle' | 'foreign'>;

/**
 * ArrayFire on our managers: from {@link open} to {@link dispose} all its allocations come here.
 *
 * A swap of managers is none for ArrayFire, which keeps the same `af_memory_manager` throughout; its payload is the handle
 * of the active manager ({@link managerOf}). Arrays of the manager that ArrayFire had before are freed natively.
 *
 * Out of memory, an ArrayFire function answers 101 (`AF_ERR_NO_MEM`) and {@link lastError} says why; everything stays usable.
 * Anything else that goes wrong in a callback is thrown by {@link call} when the function has returned.
 *
 * Call ArrayFire from the thread that opened the host. Only one host at a time serves ArrayFire.
 */
export class ArrayFireHost extends NativeHost {
  readonly #library: ArrayFireLibrary;
  /** The ordinary one, then the pinned one if there is. */
  readonly #seats: readonly Seat[];

  private constructor(
    library: ArrayFireLibrary,
    [ordinary, pinned]: readonly [ArrayFireHandle, ArrayFireHandle?],
    options: ArrayFireHostOptions,
  ) {
    super('ArrayFireHost', {
      deviceCount: library.deviceCount,
      memory: library.memory,
      natives: ordinary.natives,
      pinnedNatives: pinned?.natives ?? noPinnedMemory(ordinary),
      createDefaultManager: options.createDefaultManager,
      createFallbackManager: options.createFallbackManager,
    });
    this.#library = library;
    const seat = (slot: ManagerSlot, handle: ArrayFireHandle) => ({ slot, handle, foreign: new ForeignPointers(slot, handle) });
    this.#seats = [seat(this.slot, ordinary), ...(pinned === undefined ? [] : [seat(this.pinnedSlot, pinned)])];
  }

  /**
   * Loads ArrayFire and takes its memory over. The first allocation installs the default manager unless another was
   * installed before.
   *
   * @throws ERR_MEM_DEVICE_ABSENT when there is no ArrayFire, or it is older than 3.8
   * @throws ERR_MEM_INVALID_ARGUMENT without synchronous calls on the CPU backend
   * @throws ERR_MEM_ENGINE_IN_USE while another host of this isolate serves ArrayFire, or when ArrayFire is loaded already
   *   and `AF_SYNCHRONOUS_CALLS` is not 1: its queue may be asynchronous then, for good
   * @throws ERR_MEM_NATIVE when ArrayFire refuses, as for pinned memory on its CPU backend; it goes on as before then
   */
  static open(options: ArrayFireHostOptions = {}): ArrayFireHost {
    checkOptionNames('ArrayFireHost.open', options, OPTIONS);
    if (current !== undefined && !current.replaced) {
      throw new MemoryError('ERR_MEM_ENGINE_IN_USE', { engine: 'ArrayFire', reason: 'another host serves it' });
    }
    const library = ArrayFireLibrary.open(options);
    const handles: [ArrayFireHandle, ArrayFireHandle?] = [new ArrayFireHandle(library, 'ordinary')];
    let host: ArrayFireHost | undefined;
    try {
      if (options.pinned === true) handles.push(new ArrayFireHandle(library, 'pinned'));
      host = new ArrayFireHost(library, handles, options);
      host.#take();
    } catch (error) {
      for (const handle of handles) attempt(() => handle?.unset());
      for (const handle of handles) attempt(() => handle?.release());
      host?.callbacks.dispose();
      throw error;
    }
    current = host;
    atExit(host);
    return host;
  }

  /** ArrayFire itself, for functions that the program declares. */
  get library(): NativeLibrary {
    return this.#library.native;
  }

  /** ArrayFire's version, such as `3.9.0`. */
  get version(): string {
    return this.#library.version;
  }

  /** Whether someone else has set a manager in ArrayFire: it calls this host no more. */
  get replaced(): boolean {
    return this.#seats[0]!.handle.isReplaced;
  }

  /** How many pointers that no manager knew were freed natively. */
  get foreignFrees(): number {
    return this.#seats.reduce((sum, { foreign }) => sum + foreign.freed, 0);
  }

  /**
   * Finds the manager that serves an `af_memory_manager` of this host, by its payload.
   *
   * @returns null before the first manager was installed
   * @throws ERR_MEM_UNKNOWN_POINTER for any other handle
   */
  managerOf(handle: number): MemoryManagerAdapter | null {
    const seat = this.#seats.find((one) => one.handle.address === handle);
    if (seat === undefined || this.slot.closed) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: handle });
    const { payload } = seat.handle;
    return payload === 0 ? null : MemoryManagerInstaller.getImpl(payload);
  }

  /** The `af_memory_manager` that ArrayFire calls for ordinary memory. */
  get handle(): number {
    return this.#seats[0]!.handle.address;
  }

  /** The one for pinned memory, 0 without. */
  get pinnedHandle(): number {
    return this.#seats[1]?.handle.address ?? 0;
  }

  /**
   * Gives ArrayFire its own manager back: waits for its work, shuts all managers down, unsets and releases the handles,
   * unregisters the callbacks.
   *
   * @throws ERR_MEM_DEVICE_BUSY while arrays of our managers live, ERR_MEM_REENTRANT inside a native call; nothing has changed then
   * @throws ERR_MEM_NATIVE when ArrayFire refuses to unset: it gets no memory from then on
   */
  override dispose(): void {
    if (this.slot.closed) return;
    this.checkDisposable();
    this.call(() => this.#library.synchronize());
    for (const { foreign } of this.#seats) foreign.givenUp.retry();
    // A slot that was replaced is never told of its arrays again.
    const awaiting = this.#seats.filter(({ handle }) => !handle.isReplaced);
    const liveBlocks = awaiting.reduce((sum, { slot }) => sum + slot.liveBlocks, 0);
    if (liveBlocks > 0) throw new MemoryError('ERR_MEM_DEVICE_BUSY', { device: 0, liveBlocks });
    // Managers give native memory back while ArrayFire still takes it.
    try {
      this.slot.close();
      this.pinnedSlot.close();
    } finally {
      this.#leave();
      this.callbacks.dispose();
      forgetAtExit(this);
      if (current === this) current = undefined;
    }
  }

  /**
   * Waits for queued work and takes the callbacks out of ArrayFire: one that ran after Node's end would crash. Memory of
   * arrays that still live stays.
   *
   * @internal
   */
  override endWithProcess(): void {
    attempt(() => this.call(() => this.#library.synchronize()));
    attempt(() => this.#leave());
    super.endWithProcess();
  }

  #take(): void {
    this.events.on('swap', ({ slot, current: manager }) => {
      const seat = this.#seats.find(({ handle }) => handle.kind === slot);
      if (seat !== undefined) seat.handle.payload = manager.getHandle();
    });
    for (const seat of this.#seats) {
      const { handle } = seat;
      const addresses = this.callbacks.register(handle.kind, () =>
        arrayFireCallbacks({
          ...seat,
          startUse: () => {
            if (handle.kind === 'ordinary') this.startUse();
          },
          refuse: (error, answer) => this.refuse(error, answer),
          report: (error) => this.callbacks.report(error),
        }),
      );
      this.call(() => handle.set(addresses));
    }
  }

  #leave(): void {
    for (const { handle } of this.#seats) this.call(() => handle.unset());
    for (const { handle } of this.#seats) handle.release();
  }
}

/** ArrayFire has one manager for each kind of memory. */
let current: ArrayFireHost | undefined;

function noPinnedMemory(ordinary: ArrayFireHandle): MemoryHostOptions['pinnedNatives'] {
  const refuse = (): never => {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', {
      what: 'pinned memory',
      platform: 'ArrayFireHost without { pinned: true }',
    });
  };
  return { ...ordinary.natives, nativeAlloc: refuse, nativeFree: refuse };
}
