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
  /** Managers by handle: those in a slot, and weakly those that somebody asked the handle of. */
  readonly managers: Map<number, { deref(): MemoryManagerAdapter | undefined }>;
  readonly handles: WeakMap<MemoryManagerAdapter, number>;
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
    const managers: ProcessState['managers'] = new Map();
    holder[KEY] = {
      managers,
      handles: new WeakMap(),
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

/** The number of a manager in the process. */
export function handleOf(manager: MemoryManagerAdapter): number {
  const state = processState();
  let handle = state.handles.get(manager);
  if (handle === undefined) {
    handle = ++state.lastHandle;
    state.handles.set(manager, handle);
  }
  return handle;
}

/** Lets a manager be found by its handle as long as somebody holds it. @returns the handle */
export function registerManager(manager: MemoryManagerAdapter): number {
  const state = processState();
  const handle = handleOf(manager);
  if (!(state.managers.get(handle) instanceof WeakRef)) {
    state.managers.set(handle, new WeakRef(manager));
    state.managerCleanup.register(manager, handle);
  }
  return handle;
}

/**
 * Lets a manager be found by its handle until {@link releaseManager}. Not by a WeakRef: V8 keeps what one was made for until
 * the event loop turns, which a program that swaps in a loop does not wait for.
 *
 * @returns the handle
 */
export function holdManager(manager: MemoryManagerAdapter): number {
  const { managers } = processState();
  const handle = handleOf(manager);
  if (!managers.has(handle)) managers.set(handle, { deref: () => manager });
  return handle;
}

/** Takes back {@link holdManager}. */
export function releaseManager(manager: MemoryManagerAdapter): void {
  const { managers } = processState();
  const handle = handleOf(manager);
  if (!(managers.get(handle) instanceof WeakRef)) managers.delete(handle);
}
