// Extend with a manager of your own: a policy says where blocks come from, where they go,
// and what can be given back.
import { KiB, MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { BlockMemoryManager } from 'stowage/managers';

/** Every block is a native allocation of its own, rounded up to whole pages. */
export class PageMemoryManager extends BlockMemoryManager {
  protected place(bytes: number, alignment: number, _stream: number, device: number) {
    return this.nativeAllocate(
      Math.ceil(bytes / (4 * KiB)) * 4 * KiB,
      Math.max(alignment, 4 * KiB),
      device,
      bytes,
    );
  }

  protected reclaim(block: number) {
    this.nativeRelease(block);
  }

  protected trim() {} // nothing is cached
}

const runtime = new MemoryRuntime(new CpuDevice());
const manager = new PageMemoryManager(runtime.deviceCount, new MemoryManagerDeviceInterface());
new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
const block = runtime.allocate(5000);
console.log(`${block.bytes} bytes in a block of ${manager.allocated(block.ptr)}`);
block.dispose();
runtime.close();
