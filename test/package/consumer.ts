// Compiled against the packed tarball: what a consumer's types see.
import { type Allocation, MemoryError, MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime, MiB } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { SimulatedDevice } from 'stowage/adapters/simulated';
import { BlockMemoryManager, CachingMemoryManager } from 'stowage/managers';
import { type Dashboard, serveDashboard } from 'stowage/report';

class Exact extends BlockMemoryManager {
  protected place(bytes: number, alignment: number, _stream: number, device: number): number {
    return this.nativeAllocate(bytes, alignment, device, bytes);
  }
  protected reclaim(block: number): void {
    this.nativeRelease(block);
  }
  protected trim(): void {}
}

const runtime = new MemoryRuntime(new CpuDevice());
new MemoryManagerInstaller(new Exact(1, new MemoryManagerDeviceInterface()), runtime).setAsMemoryManager();
const block: Allocation = runtime.allocate(1 * MiB, { alignment: 64 });
const floats: Float32Array = block.view(Float32Array);
floats[0] = 1;
block[Symbol.dispose]();
const simulated = new MemoryRuntime(new SimulatedDevice({ deviceCount: 2 }));
const caching = new CachingMemoryManager(2, new MemoryManagerDeviceInterface(), { splitSizeLimitBytes: 2 * MiB });
new MemoryManagerInstaller(caching, simulated).setAsMemoryManagerPinned();
try {
  simulated.allocate(-1);
} catch (error) {
  if (MemoryError.is(error, 'ERR_MEM_INVALID_SIZE')) error.facts.bytes.toFixed();
}
const dashboard: Promise<Dashboard> = serveDashboard(runtime, { port: 0 });
dashboard.then((served) => served.dispose());
