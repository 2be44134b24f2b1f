import { DecoratingMemoryManager } from '../../managers/decorators/decorating-memory-manager.js';
import { CachingMemoryManager, DefaultMemoryManager } from '../../managers/index.js';
import {
  type DevicePtr,
  type MemoryHost,
  type MemoryManagerAdapter,
  MemoryManagerDeviceInterface,
  MemoryManagerInstaller,
} from '../../src/core/index.js';

/** Keeps nothing and rounds nothing: each block is a native allocation, each free a native free. */
export const exactManager = (): MemoryManagerAdapter =>
  new DefaultMemoryManager(1, new MemoryManagerDeviceInterface(), { maxBuffers: 1_000_000, debug: true });

export const cachingManager = (): CachingMemoryManager => new CachingMemoryManager(1, new MemoryManagerDeviceInterface());

export function install<M extends MemoryManagerAdapter>(host: MemoryHost, manager: M): M {
  new MemoryManagerInstaller(manager, host).setAsMemoryManager();
  return manager;
}

/** Refuses every allocation while {@link from} is reached: a retry fails, too. */
export class ExhaustedManager extends DecoratingMemoryManager {
  /** The number of the first allocation that fails; 1 is the first of all. */
  from = Number.POSITIVE_INFINITY;
  attempts = 0;
  refusals = 0;

  override allocBytes(bytes: number, userLock: boolean, alignment?: number, stream?: number): DevicePtr {
    if (++this.attempts >= this.from) {
      this.refusals++;
      throw this.outOfMemory(bytes);
    }
    return super.allocBytes(bytes, userLock, alignment, stream);
  }
}
