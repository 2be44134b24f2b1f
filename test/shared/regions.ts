import { addressOf } from '../../adapters/os/bytes.js';
import type { DevicePtr } from '../../src/core/units.js';
import { ScalablePageAllocator } from '../../src/shared/allocators/page-allocator.js';
import { ThreadLocalAllocator } from '../../src/shared/allocators/thread-local-allocator.js';
import type { ThreadWatch } from '../../src/shared/pages/participants.js';
import { SharedRegion } from '../../src/shared/shared-region.js';

/** The allocators whose state lies in their region. */
export const PAGE_ALLOCATORS = [ScalablePageAllocator, ThreadLocalAllocator] as const;

export const ID = { major: 3, minor: 1 };

/** A region in a buffer of this process. */
export function bufferRegion(bytes: number, buffer: ArrayBufferLike = new SharedArrayBuffer(bytes + 4096)): SharedRegion {
  const address = addressOf(buffer);
  const skip = (4096 - (address % 4096)) % 4096;
  return new SharedRegion({
    base: (address + skip) as DevicePtr,
    bytes,
    bytesAt: (offset, length) => new Uint8Array(buffer, skip + offset, length),
  });
}

/** Threads that live as long as a test says. */
export class FakeThreads {
  readonly #dead = new Set<number>();

  /** One of them, as it sees itself and the others. Its process has the same number. */
  watch(id: number): ThreadWatch {
    return { self: { id, startTime: 7 }, pid: id, isAlive: (other, start) => start === 7 && !this.#dead.has(other) };
  }

  kill(id: number): void {
    this.#dead.add(id);
  }
}
