// Make a foreign allocator a manager: the blocks of this one are the C library's.
import { devicePtr, KiB, MemoryRuntime } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { cFunction, openLibrary } from 'stowage/ffi';
import { BlockMemoryManager } from 'stowage/managers';

const library = openLibrary(['libc.so.6']);
const memalign = cFunction(library, 'memalign', 'uintptr_t', ['size_t', 'size_t']);
const free = cFunction(library, 'free', 'void', ['uintptr_t']);

class LibcMemoryManager extends BlockMemoryManager {
  protected place(bytes: number, alignment: number, _stream: number, device: number) {
    const ptr = memalign(Math.max(alignment, 64), bytes);
    if (ptr === 0) throw this.outOfMemory(this.managedDevice(device), bytes, bytes);
    return this.adopt(devicePtr(ptr), bytes, device);
  }

  protected reclaim(block: number) {
    this.nativeRelease(block, free);
  }

  protected trim() {} // nothing is cached
}

const runtime = new MemoryRuntime(new CpuDevice());
runtime.use((deviceCount, table) => new LibcMemoryManager(deviceCount, table));
const block = runtime.allocate(4 * KiB, { alignment: 4 * KiB });
console.log(`${block.bytes} bytes of the C library, ${block.ptr % (4 * KiB)} bytes off a page`);
block.dispose();
