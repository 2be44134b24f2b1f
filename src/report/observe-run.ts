import type { Device } from '../core/device.js';
import type { NativeFunctions, VirtualMemory } from '../core/device-interface.js';
import { deviceHost } from '../core/device-natives.js';
import { MemoryError } from '../core/errors.js';
import { type ManagerFactory, MemoryHost } from '../core/memory-host.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import { NULL_PTR } from '../core/units.js';
import { installManager, type ReplayOptions, replayTrace } from '../trace/replay.js';
import type { TraceEvents } from '../trace/trace-events.js';
import { RunObserver } from './run-observer.js';

/** One replay that a report is to show. */
export interface RunOptions extends Pick<ReplayOptions, 'swaps' | 'onProgress'>, Pick<ObservedRun, 'name'> {
  /** A device of its own: what the run leaves behind is freed. */
  readonly device: Device;
  readonly createManager: ManagerFactory;
  /** The time of an event in a replay without a watcher. @defaultValue the page shows no time */
  readonly nsPerEvent?: number | undefined;
}

const OPTIONS: OptionNames<RunOptions> = {
  name: true,
  device: true,
  createManager: true,
  swaps: true,
  nsPerEvent: true,
  onProgress: true,
};

/** The observations of a replay. */
export interface ObservedRun {
  /** The manager's name on the page. */
  readonly name: string;
  readonly device: string;
  /** @internal */
  readonly observer: RunObserver;
  /** Why the replay stopped; undefined when it is complete. */
  readonly failure: string | undefined;
  readonly nsPerEvent: number | undefined;
}

/**
 * Replays a trace and watches every block and every native call. A replay that fails, such as one that is out of memory, is
 * observed up to that event. Cost: about 1 µs an event beside the manager's own.
 *
 * @throws every error that is not ERR_MEM_REPLAY
 */
export function observeRun(trace: TraceEvents, options: RunOptions): ObservedRun {
  checkOptionNames('observeRun', options, OPTIONS);
  const { name, device, createManager, swaps, nsPerEvent, onProgress } = options;
  const observer: RunObserver = new RunObserver(trace, (ptr) => host.slot.allocated(ptr));
  const host: ObservedHost = new ObservedHost(device, observer);
  try {
    installManager(host, createManager);
    let failure: string | undefined;
    try {
      replayTrace(trace, host, { label: name, watcher: observer, swaps, onProgress });
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_REPLAY')) throw error;
      failure = error.message;
    }
    return { name, device: device.name, observer, failure, nsPerEvent };
  } finally {
    host.close();
  }
}

/** The least host that a replay needs. An observer sees the native memory that comes and goes. */
class ObservedHost extends MemoryHost {
  constructor(
    readonly device: Device,
    observer: RunObserver,
  ) {
    const options = deviceHost(device, {});
    super({ ...options, natives: watched(options.natives, observer) });
  }

  close(): void {
    try {
      this.slot.close();
    } finally {
      this.pinnedSlot.close();
    }
  }
}

function watched(inner: NativeFunctions, observer: RunObserver): NativeFunctions {
  return {
    deviceCount: inner.deviceCount,
    streams: inner.streams,
    virtual: inner.virtual && watchedPages(inner.virtual, observer),
    getActiveDeviceId: () => inner.getActiveDeviceId(),
    getMaxMemorySize: (device) => inner.getMaxMemorySize(device),
    getMemoryPressureThreshold: () => inner.getMemoryPressureThreshold(),
    setMemoryPressureThreshold: (value) => inner.setMemoryPressureThreshold(value),
    nativeAlloc: (bytes, alignment) => {
      const ptr = inner.nativeAlloc(bytes, alignment);
      if (ptr !== NULL_PTR) observer.nativeAllocated(ptr, bytes, false);
      return ptr;
    },
    nativeFree: (ptr) => {
      inner.nativeFree(ptr);
      observer.nativeFreed(ptr);
    },
  };
}

function watchedPages(inner: VirtualMemory, observer: RunObserver): VirtualMemory {
  return {
    granularityBytes: inner.granularityBytes,
    decommitStops: inner.decommitStops,
    pieces: inner.pieces,
    reserve: (bytes) => inner.reserve(bytes),
    release: (ptr, bytes) => {
      inner.release(ptr, bytes);
      // Pages that are still committed are released with the range.
      observer.nativeFreed(ptr, bytes);
    },
    commit: (ptr, bytes, pieceBytes) => {
      const done = inner.commit(ptr, bytes, pieceBytes);
      if (done) observer.nativeAllocated(ptr, bytes, true);
      return done;
    },
    decommit: (ptr, bytes, isIdle) => {
      inner.decommit(ptr, bytes, isIdle);
      observer.nativeFreed(ptr, bytes);
    },
  };
}
