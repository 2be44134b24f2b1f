import type { MemoryManagerAdapter } from './memory-manager-adapter.js';
import type { DevicePtr } from './units.js';

/** Which of a host's two slots: ordinary device memory, or page-locked host memory. */
export type SlotKind = 'ordinary' | 'pinned';

/** A slot has another active manager. */
export interface SwapEvent {
  readonly slot: SlotKind;
  /** The manager that serves allocations from now on. */
  readonly current: MemoryManagerAdapter;
  /** The one that did before; it drains while it has live blocks. */
  readonly previous: MemoryManagerAdapter | null;
}

/** A manager's last block is gone and it was shut down. */
export interface StoppedEvent {
  readonly slot: SlotKind;
  readonly manager: MemoryManagerAdapter;
}

/** An allocation is about to fail. A listener may free memory (or swap the manager); the allocation is then tried once more. */
export interface OutOfMemoryEvent {
  readonly slot: SlotKind;
  readonly manager: MemoryManagerAdapter;
  readonly requestedBytes: number;
  readonly device: number;
}

/** The system refused to lock pages; the memory was handed out unpinned. Sent once a device, counted always. */
export interface PinFailedEvent {
  readonly ptr: DevicePtr;
  readonly bytes: number;
  readonly reason: string;
}

/** The manager refused an engine that cannot be refused: the host gave it memory of the device, past every manager. */
export interface FallbackEvent {
  readonly slot: SlotKind;
  readonly ptr: DevicePtr;
  readonly requestedBytes: number;
  /** Why the manager did not serve the request. */
  readonly error: unknown;
}

/** A handle was dropped without being disposed; its memory was freed by the garbage collector's backstop. */
export interface LeakEvent {
  readonly slot: SlotKind;
  readonly ptr: DevicePtr;
  readonly bytes: number;
  /** Where it was allocated, when the manager tracks that. */
  readonly site: string | undefined;
}

/** The events of a host. */
export interface MemoryEvents {
  swap: [event: SwapEvent];
  stopped: [event: StoppedEvent];
  oom: [event: OutOfMemoryEvent];
  'pin-failed': [event: PinFailedEvent];
  fallback: [event: FallbackEvent];
  leak: [event: LeakEvent];
}
