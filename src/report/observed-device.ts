import { Device } from '../core/device.js';
import type { VirtualMemory } from '../core/device-interface.js';
import { type DevicePtr, NULL_PTR } from '../core/units.js';

/** Is told of native memory that comes and goes. */
export interface NativeWatcher {
  nativeAllocated(ptr: DevicePtr, bytes: number): void;
  nativeFreed(ptr: DevicePtr): void;
  committed(ptr: DevicePtr, bytes: number): void;
  decommitted(ptr: DevicePtr, bytes: number): void;
}

/** A device as it is, whose ordinary memory is watched. */
export class ObservedDevice extends Device {
  override readonly events: Device['events'];
  override readonly virtual: VirtualMemory | undefined;
  override readonly streams: Device['streams'];
  readonly #inner: Device;
  readonly #watcher: NativeWatcher;

  constructor(inner: Device, watcher: NativeWatcher) {
    super();
    this.#inner = inner;
    this.#watcher = watcher;
    this.events = inner.events;
    this.virtual = inner.virtual && observedVirtual(inner.virtual, watcher);
    this.streams = inner.streams;
  }

  override get name(): string {
    return this.#inner.name;
  }

  override get deviceCount(): number {
    return this.#inner.deviceCount;
  }

  override get activeDeviceId(): number {
    return this.#inner.activeDeviceId;
  }

  override activate(id: number): void {
    this.#inner.activate(id);
  }

  override getMaxMemorySize(id: number): number {
    return this.#inner.getMaxMemorySize(id);
  }

  override nativeAlloc(bytes: number, alignment?: number): DevicePtr {
    const ptr = this.#inner.nativeAlloc(bytes, alignment);
    if (ptr !== NULL_PTR) this.#watcher.nativeAllocated(ptr, bytes);
    return ptr;
  }

  override nativeFree(ptr: DevicePtr): void {
    this.#inner.nativeFree(ptr);
    this.#watcher.nativeFreed(ptr);
  }

  override pinnedAlloc(bytes: number, alignment?: number): DevicePtr {
    return this.#inner.pinnedAlloc(bytes, alignment);
  }

  override pinnedFree(ptr: DevicePtr): void {
    this.#inner.pinnedFree(ptr);
  }

  override copy(target: DevicePtr, source: DevicePtr, bytes: number): void {
    this.#inner.copy(target, source, bytes);
  }

  override fill(ptr: DevicePtr, value: number, bytes: number): void {
    this.#inner.fill(ptr, value, bytes);
  }

  override synchronize(): void {
    this.#inner.synchronize();
  }

  override view(ptr: DevicePtr, bytes: number): Uint8Array {
    return this.#inner.view(ptr, bytes);
  }
}

function observedVirtual(inner: VirtualMemory, watcher: NativeWatcher): VirtualMemory {
  return {
    granularityBytes: inner.granularityBytes,
    reserve: (bytes) => inner.reserve(bytes),
    release: (ptr, bytes) => {
      inner.release(ptr, bytes);
      // What is still committed goes along.
      watcher.decommitted(ptr, bytes);
    },
    commit: (ptr, bytes) => {
      const done = inner.commit(ptr, bytes);
      if (done) watcher.committed(ptr, bytes);
      return done;
    },
    decommit: (ptr, bytes) => {
      inner.decommit(ptr, bytes);
      watcher.decommitted(ptr, bytes);
    },
  };
}
