import { attempt } from '../../src/core/attempt.js';
import { deviceHost } from '../../src/core/device-natives.js';
import { MemoryError } from '../../src/core/errors.js';
import type { FallbackEvent } from '../../src/core/events.js';
import { atExit, forgetAtExit } from '../../src/core/exit-hook.js';
import type { MemoryHostOptions } from '../../src/core/memory-host.js';
import type { OptionNames } from '../../src/core/option-names.js';
import { checkBytes, type DevicePtr, exactBytes } from '../../src/core/units.js';
import { CpuDevice } from '../devices/cpu.js';
import type { CNumber } from '../ffi/callback.js';
import { AlignedBlocks } from './aligned-blocks.js';
import { FallbackMemory } from './fallback-memory.js';
import { GivenUpBlocks } from './given-up-blocks.js';
import { NativeHost } from './native-host.js';

export interface EngineHostOptions extends Pick<MemoryHostOptions, 'createDefaultManager' | 'createFallbackManager'> {
  /** The memory to hand out. @defaultValue a CpuDevice of its own */
  readonly device?: CpuDevice;
}

/** Their names. */
export const ENGINE_OPTIONS: OptionNames<EngineHostOptions> = {
  device: true,
  createDefaultManager: true,
  createFallbackManager: true,
};

/**
 * What hosts of native engines have in common: memory that the engine can touch, functions for it to call, and an end
 * that waits for the engine's last block.
 *
 * The first allocation installs the default manager unless another was installed before.
 *
 * The order of an end: the engine gives everything back, then {@link dispose}, which has it forget the functions.
 */
export abstract class EngineHost extends NativeHost {
  readonly device: CpuDevice;
  /** Memory for engines that cannot be refused. */
  readonly fallback: FallbackMemory;
  protected readonly givenUp = new GivenUpBlocks(this.slot);
  protected readonly blocks = new AlignedBlocks(this.slot, this.givenUp);

  /** @param name - what messages call the host */
  constructor(name: string, options: EngineHostOptions = {}) {
    const device = options.device ?? new CpuDevice();
    super(name, deviceHost(device, options));
    this.device = device;
    this.fallback = new FallbackMemory(device, this.slot.charges);
    atExit(this);
  }

  /**
   * Takes the functions back from the engine and shuts all managers down.
   *
   * @throws ERR_MEM_DEVICE_BUSY while the engine holds blocks, or the device refuses to take one back; nothing has changed then
   * @throws ERR_MEM_REENTRANT inside a native call; nothing has changed then
   */
  override dispose(): void {
    if (this.slot.closed) return;
    this.givenUp.retry();
    this.fallback.retryFrees();
    const liveBlocks = this.slot.liveBlocks + this.pinnedSlot.liveBlocks + this.fallback.liveBlocks;
    if (liveBlocks > 0) throw new MemoryError('ERR_MEM_DEVICE_BUSY', { device: 0, liveBlocks });
    this.checkDisposable();
    this.detach();
    this.slot.close();
    this.pinnedSlot.close();
    forgetAtExit(this);
  }

  /**
   * Allocates for an engine that cannot be refused, also for 0 bytes. What the manager does not serve comes from
   * {@link fallback}: a `fallback` event tells, or the first time, where nobody listens, a process warning.
   *
   * @param engine - what messages call it
   */
  protected allocAnyway(bytes: CNumber, alignment: number, engine: string): DevicePtr {
    try {
      this.startUse();
      if (typeof bytes === 'bigint') checkBytes(Number(bytes));
      return this.blocks.alloc(Math.max(1, Number(bytes)), alignment);
    } catch (error) {
      this.callbacks.note(error);
      const ptr = this.fallback.allocOrAbort(bytes, alignment, engine);
      attempt(() => this.#tellFallback({ slot: 'ordinary', ptr, requestedBytes: Number(bytes), error }, engine));
      return ptr;
    }
  }

  /** Frees what {@link allocAnyway} gave; does nothing for null. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE */
  protected freeAnyway(ptr: CNumber): void {
    if (typeof ptr === 'bigint') throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: Number(ptr) });
    if (this.fallback.liveBlocks > 0 && this.fallback.free(ptr)) return;
    this.givenUp.free(ptr as DevicePtr);
  }

  /** The error for a request that no manager was asked for. */
  protected outOfMemory(requestedBytes: number): MemoryError {
    return new MemoryError('ERR_MEM_OUT_OF_MEMORY', {
      requestedBytes,
      allocatedBytes: this.stats()?.allocatedBytes.current ?? 0,
      reservedBytes: this.slot.reservedBytes,
      capacityBytes: this.device.getMaxMemorySize(0),
      device: 0,
    });
  }

  /** Has the engine forget the functions, then unregisters them. A throw leaves everything as it was. */
  protected detach(): void {
    this.callbacks.dispose();
  }

  #tellFallback(event: FallbackEvent, engine: string): void {
    if (this.events.emit('fallback', event) || this.fallback.allocs > 1) return;
    const reason = event.error instanceof Error ? event.error.message : String(event.error);
    process.emitWarning(
      `${engine} cannot be refused memory and got ${exactBytes(event.requestedBytes)} past its manager (${reason}); ` +
        `'fallback' events of the host tell of each`,
    );
  }
}
