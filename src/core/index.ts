export type { AbortSignalLike } from './abort-signal.js';
export { allocationTag, withAllocationTag } from './allocation-tag.js';
export type {
  BudgetMemberKind,
  BudgetMemberReading,
  BudgetReclaim,
  BudgetRefusal,
  BudgetReport,
  BudgetStep,
  BudgetTenantReading,
} from './budget-report.js';
export * from './call-log.js';
export * from './device.js';
export type { DeviceGraph } from './device-graph.js';
export * from './device-interface.js';
export { DeviceEvent, DeviceStream } from './device-stream.js';
export { type Releasable, releasable } from './disposable.js';
export * from './errors.js';
export * from './events.js';
export type { ManagerState } from './manager-lifecycle.js';
export { type ManagerReading, managerReadings } from './manager-readings.js';
export { ManagerSlot } from './manager-slot.js';
export { defaultHost, type ManagerFactory, MemoryHost, type MemoryHostOptions } from './memory-host.js';
export { MemoryManagerAdapter } from './memory-manager-adapter.js';
export { MemoryManagerInstaller } from './memory-manager-installer.js';
export {
  DeviceStats,
  formatInfo,
  type ManagerInfo,
  MEMORY_STATISTICS,
  type MemoryStat,
  type MemoryStatistic,
  type MemoryStatsSnapshot,
} from './memory-statistics.js';
export { checkOptionNames, type OptionNames } from './option-names.js';
export type { SlotObserver } from './slot-observer.js';
export type { ManagerSlotOptions } from './slot-seats.js';

export type { DeviceCounters, MemoryStats } from './stats.js';
export * from './units.js';
