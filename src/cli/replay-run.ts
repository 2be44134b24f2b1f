import type { LogSink } from '../core/call-log.js';
import { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { MemoryManagerInstaller } from '../core/memory-manager-installer.js';
import type { ManagerFactory } from '../core/process-state.js';
import { MemoryRuntime } from '../runtime/memory-runtime.js';
import { type ReplayResult, replayTrace } from '../trace/replay.js';
import type { TraceEvents } from '../trace/trace-events.js';
import type { DeviceChoice } from './devices.js';
import { createProgress } from './progress.js';

/** One manager of a run, by its name on the command line. */
export interface NamedManager {
  readonly name: string;
  readonly create: ManagerFactory;
}

/** How each manager is replayed. */
export interface ReplaySettings {
  readonly device: DeviceChoice;
  readonly capacityBytes: number | undefined;
  readonly verify: boolean;
  readonly log: LogSink | undefined;
}

/**
 * Makes the device and each manager once, so that what is bad about them shows before a run writes anything.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT, also for a bad setting in the environment
 */
export function checkSettings(managers: readonly NamedManager[], device: DeviceChoice, capacityBytes: number | undefined): void {
  const { deviceCount } = device.create(capacityBytes);
  for (const manager of managers) manager.create(deviceCount, new MemoryManagerDeviceInterface());
}

/**
 * Replays a trace under one manager, on a device and in a runtime of its own.
 *
 * @param next - the manager that takes over at half of the events, if one does
 * @throws as {@link replayTrace}; all memory has been given back
 */
export function replayUnder(
  events: TraceEvents,
  manager: NamedManager,
  next: NamedManager | undefined,
  settings: ReplaySettings,
): ReplayResult {
  const label = labelOf(manager, next);
  const runtime = new MemoryRuntime(settings.device.create(settings.capacityBytes));
  const progress = createProgress(label);
  try {
    const first = logged(manager.create, settings.log)(runtime.deviceCount, new MemoryManagerDeviceInterface());
    new MemoryManagerInstaller(first, runtime).setAsMemoryManager();
    return replayTrace(events, runtime, {
      label,
      verify: settings.verify,
      swaps: next === undefined ? [] : [{ atEvent: swapEvent(events), createManager: logged(next.create, settings.log) }],
      onProgress: progress.report,
    });
  } finally {
    progress.stop();
    runtime.close();
  }
}

/** The manager that takes over from the one at `place`, at half of a run: the next one, or the first after the last. */
export function nextOf(managers: readonly NamedManager[], place: number): NamedManager | undefined {
  return managers[(place + 1) % managers.length];
}

/** How many events come before a swap: half of them. */
export function swapEvent(events: TraceEvents): number {
  return Math.floor(events.length / 2);
}

/** What a run is called: its manager, and the one that takes over. */
export function labelOf(manager: NamedManager, next: NamedManager | undefined): string {
  return next === undefined ? manager.name : `${manager.name} -> ${next.name}`;
}

function logged(create: ManagerFactory, log: LogSink | undefined): ManagerFactory {
  if (log === undefined) return create;
  return (deviceCount, table) => {
    const manager = create(deviceCount, table);
    manager.setLogStream(log);
    manager.setLoggingEnabled(true);
    return manager;
  };
}
