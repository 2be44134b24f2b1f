export { Allocation, SharedHandle } from './allocation.js';
export { BlockHandle, type TypedArrayClass } from './block-handle.js';
export { type AllocMessage, type FreeMessage, type OomMessage, publishDiagnostics, type SwapMessage } from './diagnostics.js';
export { type ExitReport, formatExitReport, type LiveAtExit } from './exit-report.js';
export { FileLogSink } from './file-log-sink.js';
export { type AllocateOptions, type ManagerUse, MemoryRuntime, type MemoryRuntimeOptions } from './memory-runtime.js';
export { Scope } from './scope.js';
