import { channel } from 'node:diagnostics_channel';
import { type Releasable, releasable } from '../core/disposable.js';
import type { SlotKind } from '../core/events.js';
import type { MemoryHost } from '../core/memory-host.js';
import { processState } from '../core/process-state.js';
import type { SlotObserver } from '../core/slot-observer.js';

/** What a message of `stowage:alloc` holds. */
export interface AllocMessage {
  readonly slot: SlotKind;
  readonly manager: string;
  readonly ptr: number;
  readonly bytes: number;
  readonly device: number;
  readonly stream: number;
  readonly tag: string | undefined;
}

/** What a message of `stowage:free` holds. */
export interface FreeMessage {
  readonly slot: SlotKind;
  readonly manager: string;
  readonly ptr: number;
}

/** What a message of `stowage:oom` holds: an allocation that was refused. */
export interface OomMessage {
  readonly slot: SlotKind;
  readonly manager: string;
  readonly requestedBytes: number;
  readonly device: number;
}

/** What a message of `stowage:swap` holds. */
export interface SwapMessage {
  readonly slot: SlotKind;
  readonly current: string;
  /** Undefined for the first manager of a slot. */
  readonly previous: string | undefined;
}

const allocChannel = channel('stowage:alloc');
const freeChannel = channel('stowage:free');
const oomChannel = channel('stowage:oom');
const swapChannel = channel('stowage:swap');

/**
 * Publishes what happens in both slots of a host on the diagnostics channels `stowage:alloc`, `stowage:free`, `stowage:oom`
 * and `stowage:swap`, until the result is disposed. A program that never calls this pays nothing; after it a call that nobody
 * listens to costs some nanoseconds and makes no message.
 */
export function publishDiagnostics(host: MemoryHost): Releasable {
  const published = [host.slot, host.pinnedSlot].map((slot) => ({ slot, publisher: publisherOf(slot.kind) }));
  for (const { slot, publisher } of published) slot.observe(publisher);
  return releasable(() => {
    for (const { slot, publisher } of published) slot.unobserve(publisher);
  });
}

/** Makes messages of what happens in one slot, for channels that somebody listens to. */
function publisherOf(slot: SlotKind): SlotObserver {
  return {
    alloc: (manager, ptr, bytes, device, stream) => {
      if (!allocChannel.hasSubscribers) return;
      const tag = processState().allocationTag;
      allocChannel.publish({ slot, manager: nameOf(manager), ptr, bytes, device, stream, tag } satisfies AllocMessage);
    },
    free: (manager, ptr) => {
      if (freeChannel.hasSubscribers) freeChannel.publish({ slot, manager: nameOf(manager), ptr } satisfies FreeMessage);
    },
    nativeAlloc: () => {},
    nativeFree: () => {},
    cleanup: () => {},
    swap: (manager, before) => {
      if (!swapChannel.hasSubscribers) return;
      const previous = before === 0 ? undefined : nameOf(before);
      swapChannel.publish({ slot, current: nameOf(manager), previous } satisfies SwapMessage);
    },
    outOfMemory: (manager, requestedBytes, device) => {
      if (!oomChannel.hasSubscribers) return;
      oomChannel.publish({ slot, manager: nameOf(manager), requestedBytes, device } satisfies OomMessage);
    },
  };
}

function nameOf(handle: number): string {
  return processState().managers.get(handle)?.deref()?.name ?? '';
}
