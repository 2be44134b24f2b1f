// Put a manager under a C library that takes allocator callbacks: zlib. Needs libz (Debian:
// zlib1g).
import { MemoryRuntime } from 'stowage'; // brings the default manager along
import { CAllocatorHost, zlibAllocator } from 'stowage/adapters/c-allocator';
import { CpuDevice } from 'stowage/adapters/cpu';
import { cFunction, openLibrary } from 'stowage/ffi';

// or Node's own zlib answers
const zlib = openLibrary(['libz.so.1', 'libz.dylib'], { deep: true });
const deflateInit = cFunction(zlib, 'deflateInit_', 'int', [
  'uintptr_t',
  'int',
  'const char *',
  'int',
]);
const deflateEnd = cFunction(zlib, 'deflateEnd', 'int', ['uintptr_t']);
const version = cFunction(zlib, 'zlibVersion', 'const char *', [])();

const host = new CAllocatorHost();
const runtime = new MemoryRuntime(new CpuDevice());
const stream = runtime.allocate(112, { zero: true }); // a z_stream
const { zalloc, zfree } = zlibAllocator(host);
stream.view(BigUint64Array, 64, 2).set([BigInt(zalloc), BigInt(zfree)]);

// Calls that may allocate go through the host, which throws what went wrong in a callback.
const status = host.call(() => deflateInit(stream.ptr, 6, version, 112));
console.log(
  `deflateInit: ${status}, ${host.slot.liveBlocks} blocks from ${host.slot.active?.name}`,
);
host.call(() => deflateEnd(stream.ptr));
console.log(`deflateEnd: ${host.slot.liveBlocks} blocks`);
host.dispose(); // only after the library has forgotten the functions
runtime.close();
