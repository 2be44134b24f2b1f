import type { GpuDevice } from '../../adapters/devices/gpu/gpu-device.js';
import { MANAGERS } from '../../src/cli/choices.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { ManagerFactory } from '../../src/core/memory-host.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import type { TraceEvents } from '../../src/trace/trace-events.js';
import type { BenchEvents } from '../bench/event-file.js';
import { createReplay, drainThrough } from '../bench/manager-subject.js';
import { median } from '../bench/statistics.js';
import type { NativeAllocator } from './native-allocators.js';

/** What one allocator took for one trace. */
export interface AllocationRow {
  readonly allocator: string;
  readonly trace: string;
  /** Of the first replay on a new allocator, what the trace left live freed as well. */
  readonly firstUsPerEvent: number;
  /** The median of the later ones. */
  readonly laterUsPerEvent: number;
}

/** The managers that are measured, by their names on the command line. */
export const MEASURED_MANAGERS = ['caching', 'tlsf', 'pool'] as const;

/** The first events of a trace. */
export function firstEvents(trace: TraceEvents, count: number): BenchEvents & { readonly name: string } {
  const length = Math.min(count, trace.length);
  const { name, slotCount, peakLiveBytes } = trace;
  return {
    name,
    length,
    slotCount,
    peakLiveBytes,
    slots: trace.slots.subarray(0, length),
    bytes: trace.bytes.subarray(0, length),
  };
}

/** Measures one of the runtime's own allocators. */
export function measureNative(
  device: GpuDevice,
  allocator: NativeAllocator,
  events: BenchEvents & { readonly name: string },
  rounds: number,
): AllocationRow {
  const { slots, bytes, length } = events;
  const pointers = new Float64Array(events.slotCount);
  return measured(allocator.name, events, rounds, () => {
    for (let i = 0; i < length; i++) {
      const code = slots[i]!;
      const size = bytes[i]!;
      if (code >= 0) pointers[code] = size === 0 ? NULL_PTR : allocator.alloc(size);
      else release(allocator, pointers, ~code);
    }
    for (let slot = 0; slot < pointers.length; slot++) release(allocator, pointers, slot);
    device.synchronize();
  });
}

/** Measures a manager in a runtime of its own, as a program has it. */
export function measureManager(
  device: GpuDevice,
  manager: string,
  events: BenchEvents & { readonly name: string },
  rounds: number,
): AllocationRow {
  const create = MANAGERS.get(manager) as ManagerFactory;
  using runtime = new MemoryRuntime(device, { exitReport: false });
  new MemoryManagerInstaller(create(device.deviceCount, new MemoryManagerDeviceInterface()), runtime).setAsMemoryManager();
  const pointers = new Float64Array(events.slotCount);
  const replay = createReplay(runtime.slot, events, pointers);
  return measured(manager, events, rounds, () => {
    replay();
    drainThrough(runtime.slot, pointers);
    device.synchronize();
  });
}

function release(allocator: NativeAllocator, pointers: Float64Array, slot: number): void {
  const ptr = pointers[slot] as DevicePtr;
  pointers[slot] = NULL_PTR;
  if (ptr !== NULL_PTR) allocator.free(ptr);
}

function measured(
  allocator: string,
  events: BenchEvents & { readonly name: string },
  rounds: number,
  replay: () => void,
): AllocationRow {
  const usPerEvent = Array.from({ length: rounds + 1 }, () => {
    const start = process.hrtime.bigint();
    replay();
    return Number(process.hrtime.bigint() - start) / 1000 / events.length;
  });
  const [firstUsPerEvent = 0, ...later] = usPerEvent;
  return { allocator, trace: events.name, firstUsPerEvent, laterUsPerEvent: median(later) };
}
