// Make a foreign allocator a manager: the blocks of this one are the C library's.
import koffi from 'koffi';
import { KiB, MemoryRuntime } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { BlockMemoryManager } from 'stowage/managers';

const [memalign, free] = ['size_t memalign(size_t, size_t)', 'void free(size_t)'].map((f) => koffi.load('libc.so.6').func(f));

class LibcMemoryManager extends BlockMemoryManager {
  place(bytes, alignment, _stream, device) {
    const ptr = memalign(Math.max(alignment, 64), bytes);
    if (ptr === 0) throw this.outOfMemory(this.managedDevice(device), bytes, bytes);
    return this.adopt(ptr, bytes, device);
  }

  reclaim(block) {
    this.nativeRelease(block, free);
  }

  trim() {} // nothing is cached
}

const runtime = new MemoryRuntime(new CpuDevice());
runtime.use((deviceCount, table) => new LibcMemoryManager(deviceCount, table));
const block = runtime.allocate(4 * KiB, { alignment: 4 * KiB });
console.log(`${block.bytes} bytes of the C library, ${block.ptr % (4 * KiB)} bytes off a page`);
block.dispose();
