import { CpuDevice } from '../adapters/devices/cpu.js';
import { CachingMemoryManager } from '../managers/caching/caching-memory-manager.js';
import { DEFAULT_MAX_BUFFERS, DefaultMemoryManager } from '../managers/default/default-memory-manager.js';
import { defaultHost } from './core/memory-host.js';
import { processState } from './core/process-state.js';
import { MemoryRuntime } from './runtime/memory-runtime.js';

export * from './core/index.js';
export * from './runtime/index.js';

// The defaults of the process. What a host app or another copy of this package has set already stays.
const state = processState();
state.createDefaultHost ??= () => new MemoryRuntime(new CpuDevice());
state.createDefaultManager ??= (deviceCount, table) => new CachingMemoryManager(deviceCount, table);
state.createFallbackManager ??= (deviceCount, table) => new DefaultMemoryManager(deviceCount, DEFAULT_MAX_BUFFERS, false, table);

/** The runtime over CPU memory that the whole process shares: made at its first use. */
export function defaultRuntime(): MemoryRuntime {
  return defaultHost() as MemoryRuntime;
}
