import type { MemoryManagerDeviceInterface } from './device-interface.js';
import type { MemoryHost } from './memory-host.js';
import type { MemoryManagerAdapter } from './memory-manager-adapter.js';

/** Makes a manager for a table of a device with that many ids. */
export type ManagerFactory = (deviceCount: number, deviceInterface: MemoryManagerDeviceInterface) => MemoryManagerAdapter;

/** Native memory of a handle that was dropped without being disposed. */
export interface Reclaimable {
  reclaim(): void;
}

/** What one process (strictly: one isolate) shares, however many copies of this package it has loaded. */
export interface ProcessState {
  /** Live managers by handle; weak, so that asking for one never keeps it alive. */
  readonly managers: Map<number, WeakRef<MemoryManagerAdapter>>;
  readonly managerCleanup: FinalizationRegistry<number>;
  lastHandle: number;
  /** Of the allocation that is being made. */
  allocationTag: string | undefined;
  /** The one finalisation registry: the backstop for handles that were dropped. */
  readonly droppedHandles: FinalizationRegistry<Reclaimable>;
  /** The host that installers use when they are given none. */
  defaultHost: MemoryHost | undefined;
  createDefaultHost: (() => MemoryHost) | undefined;
  /** Makes what `installDefaultMemoryManager` installs. */
  createDefaultManager: ManagerFactory | undefined;
  /** Makes what a host falls back to when no manager is installed. */
  createFallbackManager: ManagerFactory | undefined;
  /** Told of every host that is made from now on, before its first call. */
  readonly hostListeners: Set<(host: MemoryHost) => void>;
}

const KEY = Symbol.for('stowage');

/** The state shared by all copies of this package in this isolate. */
export function processState(): ProcessState {
  const holder = globalThis as { [KEY]?: ProcessState };
  if (holder[KEY] === undefined) {
    const managers = new Map<number, WeakRef<MemoryManagerAdapter>>();
    holder[KEY] = {
      managers,
      managerCleanup: new FinalizationRegistry((handle) => managers.delete(handle)),
      lastHandle: 0,
      allocationTag: undefined,
      droppedHandles: new FinalizationRegistry((memory) => memory.reclaim()),
      defaultHost: undefined,
      createDefaultHost: undefined,
      createDefaultManager: undefined,
      createFallbackManager: undefined,
      hostListeners: new Set(),
    };
  }
  return holder[KEY];
}

/** Gives a manager its process-wide handle. */
export function registerManager(manager: MemoryManagerAdapter): number {
  const state = processState();
  const handle = ++state.lastHandle;
  state.managers.set(handle, new WeakRef(manager));
  state.managerCleanup.register(manager, handle);
  return handle;
}
