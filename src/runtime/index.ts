export type { BufferClass, TypedArrayClass } from '../core/typed-array.js';
export { Allocation, Allocation as BlockHandle, SharedHandle } from './allocation.js';
export type { CopyFromOptions, CopyToOptions, HostBytes } from './block-copies.js';
export type { CollectorStats } from './collector-pressure.js';
export { type AllocMessage, type FreeMessage, type OomMessage, publishDiagnostics, type SwapMessage } from './diagnostics.js';
export { type ExitReport, formatExitReport, type LiveAtExit } from './exit-report.js';
export { FileLogSink, type FileLogSinkOptions } from './file-log-sink.js';
export { type AllocateOptions, type ManagerUse, MemoryRuntime, type MemoryRuntimeOptions } from './memory-runtime.js';
export { Scope } from './scope.js';
