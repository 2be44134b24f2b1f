// Limit a program, and find out who holds its memory.
import {
  MemoryError,
  MemoryManagerDeviceInterface,
  MemoryManagerInstaller,
  MemoryRuntime,
  MiB,
} from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import {
  CachingMemoryManager,
  LimitingMemoryManager,
  TrackingMemoryManager,
} from 'stowage/managers';

const runtime = new MemoryRuntime(new CpuDevice());
const caching = new CachingMemoryManager(runtime.deviceCount, new MemoryManagerDeviceInterface());
const tracking = new TrackingMemoryManager(caching, { sites: true });
const limited = new LimitingMemoryManager(tracking, { limitBytes: 16 * MiB });
new MemoryManagerInstaller(limited, runtime).setAsMemoryManager();

function loadWeights() {
  return runtime.allocate(12 * MiB);
}

const weights = loadWeights();
try {
  runtime.allocate(8 * MiB);
} catch (error) {
  if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
  console.log(`refused: ${error.facts.quota}`);
}
console.log(`held by ${/loadWeights/.exec(tracking.siteOf(weights.ptr) ?? '')?.[0]}`);
weights.dispose();
runtime.close();
