// Change one thing in a manager: this one rounds large arrays up, so that those of nearly
// the same size share blocks.
import { MemoryRuntime, MiB } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { CachingMemoryManager } from 'stowage/managers';

class RoundingMemoryManager extends CachingMemoryManager {
  override allocBytes(bytes: number, userLock: boolean, alignment?: number, stream?: number) {
    return super.allocBytes(
      bytes < MiB ? bytes : Math.ceil(bytes / MiB) * MiB,
      userLock,
      alignment,
      stream,
    );
  }
}

const runtime = new MemoryRuntime(new CpuDevice());
const rounding = runtime.use((deviceCount, table) => new RoundingMemoryManager(deviceCount, table));
const block = runtime.allocate(1.5 * MiB);
console.log(`${block.bytes} bytes in a block of ${rounding.manager.allocated(block.ptr)}`);
block.dispose();
rounding.dispose();
