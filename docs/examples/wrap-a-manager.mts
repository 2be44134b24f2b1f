// Wrap a manager: this one reports large allocations, of whichever manager is inside.
import { MemoryRuntime, MiB } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { DecoratingMemoryManager, TlsfMemoryManager } from 'stowage/managers';

class ReportingMemoryManager extends DecoratingMemoryManager {
  override allocBytes(bytes: number, userLock: boolean, alignment?: number, stream?: number) {
    const ptr = super.allocBytes(bytes, userLock, alignment, stream);
    if (bytes >= MiB) console.log(`${bytes / MiB} MiB from ${this.inner.name}`);
    return ptr;
  }
}

const runtime = new MemoryRuntime(new CpuDevice());
const reporting = runtime.use(
  (deviceCount, table) => new ReportingMemoryManager(new TlsfMemoryManager(deviceCount, table)),
);
for (const bytes of [1000, 3 * MiB]) runtime.allocate(bytes).dispose();
reporting.dispose();
