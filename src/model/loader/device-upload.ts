import { setImmediate } from 'node:timers/promises';
import { isHostVisible } from '../../core/device-copy.js';
import { MemoryError } from '../../core/errors.js';
import { type DevicePtr, MiB } from '../../core/units.js';
import type { Allocation } from '../../runtime/allocation.js';
import type { MemoryRuntime } from '../../runtime/memory-runtime.js';
import type { MappedTensor } from './mapped-tensor.js';

/** Two of these are in use: one is filled from the file while the other is on its way. */
const STAGING_BYTES = 4 * MiB;

/** A staging buffer, and the copy that reads it. */
interface Staging {
  readonly memory: Allocation;
  readonly bytes: Uint8Array;
  inFlight: Promise<void>;
}

/**
 * Copies tensors of a mapped file to a device. Where the host sees the device's memory, directly; elsewhere through two
 * page-locked staging buffers, so that reading the file and copying to the device go on at the same time.
 */
export class DeviceUpload {
  /** Each is made when it is first needed. */
  readonly #staging: Staging[] = [];

  constructor(readonly runtime: MemoryRuntime) {}

  /**
   * Copies a tensor's data. Between parts the event loop turns.
   *
   * @param target - room for it on the device
   * @param onPart - told of the bytes of each part; what it throws ends the copy
   */
  async copy(target: DevicePtr, tensor: MappedTensor, onPart: (bytes: number) => void): Promise<void> {
    const { bytes } = tensor;
    if (bytes === 0) return;
    const { device } = this.runtime;
    const direct = isHostVisible({ device, ptr: target });
    try {
      for (let done = 0, turn = 0; done < bytes; done += STAGING_BYTES, turn ^= 1) {
        const part = Math.min(STAGING_BYTES, bytes - done);
        const to = (target + done) as DevicePtr;
        // Read for each part: that detects a truncated file.
        const from = (tensor.ptr + done) as DevicePtr;
        if (direct) device.copy(to, from, part);
        else await this.#stage(turn, to, tensor.device.view(from, part));
        onPart(part);
        await setImmediate();
      }
    } finally {
      await this.#settle();
    }
  }

  /** Gives the staging buffers back. */
  dispose(): void {
    for (const { memory } of this.#staging.splice(0)) memory.dispose();
  }

  async #stage(turn: number, to: DevicePtr, data: Uint8Array): Promise<void> {
    const staging = (this.#staging[turn] ??= this.#makeStaging());
    await staging.inFlight;
    staging.bytes.set(data);
    staging.inFlight = this.runtime.device.copyAsync(to, staging.memory.ptr, data.length);
    // The next user of the buffer, or the end, awaits it; until then a rejection must not count as unhandled.
    staging.inFlight.catch(() => undefined);
  }

  /** Waits for all copies under way: a buffer must not be given back before. */
  async #settle(): Promise<void> {
    const pending = this.#staging.map((staging) => staging.inFlight);
    for (const staging of this.#staging) staging.inFlight = Promise.resolve();
    const failed = (await Promise.allSettled(pending)).find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  #makeStaging(): Staging {
    const memory = this.runtime.allocate(STAGING_BYTES, { pinned: true, tag: 'staging' });
    try {
      return { memory, bytes: memory.view(Uint8Array), inFlight: Promise.resolve() };
    } catch (error) {
      memory.dispose();
      throw MemoryError.is(error, 'ERR_MEM_UNSUPPORTED_PLATFORM')
        ? new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'loading a model', platform: this.runtime.device.name }, error)
        : error;
    }
  }
}
