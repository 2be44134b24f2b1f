import { SimulatedDevice, type SimulatedDeviceOptions } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager, DefaultMemoryManager, PoolMemoryManager } from '../../managers/index.js';
import type { ManagerFactory } from '../../src/core/index.js';
import { type ObservedRun, observeRun } from '../../src/report/index.js';
import { EventBuilder } from '../../src/trace/event-builder.js';
import { TraceEvents } from '../../src/trace/index.js';

/** Some managers by name. */
export const FACTORIES: Readonly<Record<string, ManagerFactory>> = {
  caching: (deviceCount, table) => new CachingMemoryManager(deviceCount, table),
  pool: (deviceCount, table) => new PoolMemoryManager(deviceCount, table),
  default: (deviceCount, table) => new DefaultMemoryManager(deviceCount, table),
};

/** Observes a replay on a simulated device. */
export function observe(
  trace: TraceEvents,
  manager: string,
  options: SimulatedDeviceOptions & { name?: string } = {},
): ObservedRun {
  const { name = manager, ...device } = options;
  return observeRun(trace, {
    name,
    device: new SimulatedDevice({ virtual: true, ...device }),
    createManager: FACTORIES[manager] as ManagerFactory,
  });
}

/** A call of a trace that a test makes up: an allocation of some bytes, or the free of the n-th allocation. */
export type Call = { readonly alloc: number; readonly tag?: string; readonly site?: string } | { readonly free: number };

/** Makes a trace of calls, in memory. @param timed - true gives it times */
export function traceOf(calls: readonly Call[], name = 'made up', timed = false): TraceEvents {
  const builder = new EventBuilder();
  const slots: number[] = [];
  calls.forEach((call, i) => {
    if ('free' in call) {
      builder.free(slots[call.free] as number, i + 1);
      return;
    }
    // A millisecond a call, and a pause in the middle.
    if (timed) builder.time = (i < calls.length / 2 ? i : i + 1000) * 1e6;
    builder.tag = builder.strings.idOf(call.tag ?? '');
    builder.site = builder.strings.idOf(call.site ?? '');
    slots.push(builder.alloc(call.alloc, i + 1));
  });
  return new TraceEvents({ file: 'made-up.trace', name, format: 'alloctrace' }, builder.copy(), builder);
}
