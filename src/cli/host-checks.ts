import { openLibrary } from '../../adapters/ffi/index.js';
import { ArrayFireHost } from '../../adapters/hosts/arrayfire/index.js';
import { CAllocatorHost } from '../../adapters/hosts/c-allocator/index.js';
import { GgmlHost } from '../../adapters/hosts/ggml/index.js';
import { OnnxRuntimeHost } from '../../adapters/hosts/onnxruntime/index.js';
import { SqliteHost } from '../../adapters/hosts/sqlite/index.js';
import { MemoryError } from '../core/errors.js';
import { formatBytes, MiB } from '../core/units.js';
import type { Check } from './check.js';

/** Every host for native engines; each is used for real, as far as no model or file is needed. */
export const HOST_CHECKS: readonly Check[] = [
  { kind: 'host', name: 'c-allocator', run: () => useCAllocator() },
  { kind: 'host', name: 'onnxruntime', run: () => useOnnxRuntime() },
  { kind: 'host', name: 'sqlite', run: () => useSqlite() },
  { kind: 'host', name: 'ggml', run: () => useGgml() },
  { kind: 'host', name: 'arrayfire', run: () => useArrayFire() },
];

function useCAllocator(): string {
  using host = new CAllocatorHost();
  const { malloc } = host.functions;
  const ptr = host.call(() => host.malloc(64));
  if (malloc === 0 || ptr === 0) throw noMemory('malloc');
  host.call(() => host.free(ptr));
  return 'callbacks for C libraries can be registered';
}

function useOnnxRuntime(): string {
  using host = new OnnxRuntimeHost();
  host.attach();
  return `ONNX Runtime ${host.library?.version} of onnxruntime-node takes an allocator`;
}

function useSqlite(): string {
  using host = new SqliteHost();
  host.attach();
  const { version, path } = host.library!;
  const library = openLibrary([path], { device: 'SQLite' });
  const malloc = library.func<(bytes: number) => number>('sqlite3_malloc', 'uintptr_t', ['int']);
  const free = library.func<(ptr: number) => void>('sqlite3_free', 'void', ['uintptr_t']);
  const ptr = host.call(() => malloc(64));
  if (ptr === 0 || host.slot.liveBlocks === 0) throw noMemory('sqlite3_malloc');
  host.call(() => free(ptr));
  return `SQLite ${version} (${path}) allocates from its manager`;
}

function useGgml(): string {
  using host = GgmlHost.open();
  using context = host.createContext(MiB);
  return `${host.library.path} makes contexts in memory of its manager (${formatBytes(context.usedBytes)} used)`;
}

function useArrayFire(): string {
  using host = ArrayFireHost.open();
  const ptr = host.slot.alloc(MiB, true);
  host.slot.unlock(ptr, true);
  return `ArrayFire ${host.version} with ${host.deviceCount} devices takes a memory manager`;
}

function noMemory(functionName: string): MemoryError {
  return new MemoryError('ERR_MEM_NATIVE', { functionName, status: 0, statusName: 'null' });
}
