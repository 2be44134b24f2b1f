import { MemoryError } from '../../../src/core/errors.js';
import { lazy } from '../../os/libc.js';
import { checkCapacity } from '../device-capacity.js';
import { OpenClContext } from './opencl-context.js';
import { findDevices, type OpenClFacts } from './opencl-facts.js';
import { loadOpenCl, type OpenClFunctions } from './opencl-functions.js';
import { SvmMemory } from './svm-memory.js';

/** Settings of an OpenClDevice. */
export interface OpenClDeviceOptions {
  /** Where the OpenCL library is. @defaultValue the system's */
  readonly libraryPath?: string;
  /** The library's functions: for layers over it, and tests. @defaultValue those of the library */
  readonly functions?: OpenClFunctions;
  /** Which devices to use. @defaultValue all with shared virtual memory */
  readonly select?: (facts: OpenClFacts) => boolean;
  /** The most to hand out on each device. @defaultValue the device's memory */
  readonly capacityBytes?: number;
  /**
   * True asks for memory that the host may touch at any time, without maps; devices without it are left out.
   *
   * @defaultValue false
   */
  readonly fineGrain?: boolean;
}

/** The devices of a library, found at the first look and each opened at its first use. */
export class OpenedDevices {
  readonly #options: OpenClDeviceOptions;
  readonly #memories: (SvmMemory | undefined)[] = [];
  /** Closed, but not given back yet: that may fail. */
  readonly #leaving = new Set<OpenClContext>();
  readonly #found = lazy(() => this.#find());

  /** @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(options: OpenClDeviceOptions) {
    const { capacityBytes = 0 } = options;
    checkCapacity('capacityBytes', capacityBytes);
    this.#options = options;
  }

  /** What is known of each device. @throws ERR_MEM_DEVICE_ABSENT, ERR_MEM_NATIVE */
  get facts(): readonly OpenClFacts[] {
    return this.#found().facts;
  }

  /** The devices that were opened. */
  get opened(): SvmMemory[] {
    return this.#memories.filter((memory) => memory !== undefined);
  }

  /** The memory of a device. @param id - one of `facts` @throws ERR_MEM_DEVICE_ABSENT, ERR_MEM_NATIVE */
  memory(id: number): SvmMemory {
    const { cl, facts } = this.#found();
    return (this.#memories[id] ??= new SvmMemory(new OpenClContext(cl, id, facts[id]!), this.#options.fineGrain ?? false));
  }

  /** Throws while anything on a device is live. @throws ERR_MEM_DEVICE_BUSY */
  checkIdle(): void {
    for (const { context, liveSegments } of this.opened) {
      const liveBlocks = liveSegments + context.liveBuffers;
      if (liveBlocks > 0) throw new MemoryError('ERR_MEM_DEVICE_BUSY', { device: context.id, liveBlocks });
    }
  }

  /**
   * Closes every device, except those whose freed memory JavaScript still holds arrays of.
   *
   * @param before - gives back what else the device has
   * @throws ERR_MEM_NATIVE
   */
  close(before: (context: OpenClContext) => void): void {
    for (const memory of this.opened) {
      const { context } = memory;
      before(context);
      if (memory.kept.bytes > 0) continue;
      this.#memories[context.id] = undefined;
      this.#leaving.add(context);
    }
    for (const context of this.#leaving) {
      context.release();
      this.#leaving.delete(context);
    }
  }

  #find(): { readonly cl: OpenClFunctions; readonly facts: readonly OpenClFacts[] } {
    const { functions, libraryPath, select = () => true, capacityBytes, fineGrain = false } = this.#options;
    const cl = functions ?? loadOpenCl(libraryPath);
    const all = findDevices(cl);
    const facts = all
      .filter((device) => (device.fineGrain || !fineGrain) && select(device))
      .map((device) => ({ ...device, capacityBytes: Math.min(device.capacityBytes, capacityBytes ?? device.capacityBytes) }));
    if (facts.length === 0) {
      const reason = `among these is none that was asked for: ${all.map(({ name }) => name).join(', ')}`;
      throw new MemoryError('ERR_MEM_DEVICE_ABSENT', { device: 'OpenCL', reason });
    }
    return { cl, facts };
  }
}
