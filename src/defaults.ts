import { trimNativeHeap } from '../adapters/os/native-heap.js';
import { CachingMemoryManager } from '../managers/caching/caching-memory-manager.js';
import { DefaultMemoryManager } from '../managers/default/default-memory-manager.js';
import { configuredRuntime, prepareConf } from './conf/configured-runtime.js';
import { processState } from './core/process-state.js';
import { serveFromEnvironment } from './report/live/serve-from-environment.js';
import { recordFlightFromEnvironment, recordFromEnvironment } from './trace/recording/record-from-environment.js';

// The defaults of the process, set by every entry point that makes runtimes.
// What a host app or another copy of this package has set already stays.
const state = processState();
state.createDefaultHost ??= configuredRuntime;
state.createDefaultManager ??= (deviceCount, table) => new CachingMemoryManager(deviceCount, table);
state.createFallbackManager ??= (deviceCount, table) => new DefaultMemoryManager(deviceCount, table);
state.trimNativeHeap ??= onceASecond(trimNativeHeap);
prepareConf();
recordFromEnvironment();
recordFlightFromEnvironment();
serveFromEnvironment();

/** The C library walks all that is free: who runs out of memory again and again must not wait for that each time. */
function onceASecond(trim: () => number): () => number {
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - last < 1000) return 0;
    last = now;
    return trim();
  };
}
