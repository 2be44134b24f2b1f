import { orUndo } from '../../../src/core/attempt.js';
import { checkOptionNames, type OptionNames } from '../../../src/core/option-names.js';
import { checkBytes } from '../../../src/core/units.js';
import { numberIn } from '../../os/bytes.js';
import { GpuFunctions } from './gpu-functions.js';
import type { GpuRuntime } from './gpu-runtime.js';
import { OUT_OF_MEMORY } from './gpu-status.js';

/** How segments are taken from the pool of the runtime. */
export interface AsyncPoolOptions {
  /**
   * How much unused memory each card's pool keeps when a device, a stream or an event is waited for; the pool is the process's, and
   * so is this number. @defaultValue all of it
   */
  readonly releaseThresholdBytes?: number;
}

const OPTIONS: OptionNames<AsyncPoolOptions> = { releaseThresholdBytes: true };

/** What a card's pool holds. */
export interface AsyncPoolInfo {
  /** Memory of the card that the pool holds. */
  readonly reservedBytes: number;
  readonly reservedPeakBytes: number;
  /** What of it is allocated, by anyone in this process. */
  readonly usedBytes: number;
  readonly usedPeakBytes: number;
}

const FUNCTIONS = {
  MallocAsync: ['uint32_t *', 'size_t', 'uintptr_t'],
  FreeAsync: ['uintptr_t', 'uintptr_t'],
  DeviceGetDefaultMemPool: ['uint32_t *', 'int'],
  MemPoolSetAttribute: ['uintptr_t', 'int', 'uint64_t *'],
  MemPoolGetAttribute: ['uintptr_t', 'int', 'uint64_t *'],
  MemPoolTrimTo: ['uintptr_t', 'size_t'],
} as const;

// The same numbers in CUDA and HIP. @see Source: driver_types.h, hip_runtime_api.h
const RELEASE_THRESHOLD = 4;
const RESERVED = 5;
const RESERVED_PEAK = 6;
const USED = 7;
const USED_PEAK = 8;
const EVERYTHING = 2n ** 64n - 1n;

/** Checks what the option says. @returns the threshold @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE */
export function thresholdOf(option: boolean | AsyncPoolOptions): bigint {
  if (typeof option === 'boolean') return EVERYTHING;
  checkOptionNames('asyncPool', option, OPTIONS);
  if (option.releaseThresholdBytes === undefined) return EVERYTHING;
  checkBytes(option.releaseThresholdBytes);
  return BigInt(option.releaseThresholdBytes);
}

/**
 * Memory of `cudaMallocAsync`: from the default pool of each card, which keeps what was freed for the next request.
 *
 * Every stream may use what an allocation gives, so that it waits for the default stream, in whose order the pool works.
 */
export class GpuAsyncPool {
  readonly #runtime: GpuRuntime;
  readonly #threshold: bigint;
  readonly #functions: GpuFunctions<typeof FUNCTIONS>;
  /** The handle of each device's pool. */
  readonly #pools: number[] = [];
  readonly #out = new Uint32Array(2);

  constructor(runtime: GpuRuntime, threshold: bigint) {
    this.#runtime = runtime;
    this.#threshold = threshold;
    this.#functions = new GpuFunctions(runtime, FUNCTIONS);
  }

  /** Allocates on the active device. @returns an address, or 0 when there is no room @throws ERR_MEM_NATIVE */
  malloc(bytes: number): number {
    this.#runtime.leftovers.retry();
    this.#poolOf(this.#runtime.activeDevice);
    if (!this.#functions.ask('MallocAsync', OUT_OF_MEMORY, this.#out, bytes, 0)) return 0;
    const address = numberIn(this.#out);
    const wait = () => this.#runtime.call('StreamSynchronize', 0);
    orUndo(wait, () => this.#runtime.leftovers.drop(() => this.#functions.call('FreeAsync', address, 0)));
    return address;
  }

  /** Frees memory of the current device after all of its work. */
  free(address: number): void {
    this.#runtime.call('DeviceSynchronize');
    this.#functions.call('FreeAsync', address, 0);
    // The free is work of the stream, too: the pool has the memory when it is done.
    this.#runtime.leftovers.drop(() => this.#runtime.call('StreamSynchronize', 0));
  }

  /** Gives unused memory of a device's pool back to the card, until `keepBytes` are left. */
  trim(device: number, keepBytes: number): void {
    checkBytes(keepBytes);
    this.#functions.call('MemPoolTrimTo', this.#poolOf(device), keepBytes);
  }

  info(device: number): AsyncPoolInfo {
    const pool = this.#poolOf(device);
    const read = (attribute: number) => {
      const value = new BigUint64Array(1);
      this.#functions.call('MemPoolGetAttribute', pool, attribute, value);
      return Number(value[0]);
    };
    return {
      reservedBytes: read(RESERVED),
      reservedPeakBytes: read(RESERVED_PEAK),
      usedBytes: read(USED),
      usedPeakBytes: read(USED_PEAK),
    };
  }

  /** The pool of a device; sets its threshold when it is first used. */
  #poolOf(device: number): number {
    const known = this.#pools[device];
    if (known !== undefined) return known;
    const out = new Uint32Array(2);
    this.#functions.call('DeviceGetDefaultMemPool', out, device);
    const pool = numberIn(out);
    this.#functions.call('MemPoolSetAttribute', pool, RELEASE_THRESHOLD, BigUint64Array.of(this.#threshold));
    return (this.#pools[device] = pool);
  }
}
