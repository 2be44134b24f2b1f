// Put a limit under ggml. Needs node-llama-cpp's libraries in node_modules; libggml-base's
// path may be given as an argument.
import { MemoryError, MemoryManagerDeviceInterface, MemoryManagerInstaller, MiB } from 'stowage';
import { GgmlHost } from 'stowage/adapters/ggml';
import { cFunction } from 'stowage/ffi';
import { CachingMemoryManager, LimitingMemoryManager } from 'stowage/managers';

const [library] = process.argv.slice(2);
try {
  const host = GgmlHost.open(library === undefined ? {} : { library });
  const newVector = cFunction(host.library, 'ggml_new_tensor_1d', 'uintptr_t', [
    'uintptr_t',
    'int',
    'int64_t',
  ]);
  const allocBuffer = cFunction(host.library, 'ggml_backend_buft_alloc_buffer', 'uintptr_t', [
    'uintptr_t',
    'size_t',
  ]);
  const freeBuffer = cFunction(host.library, 'ggml_backend_buffer_free', 'void', ['uintptr_t']);

  const context = host.createContext(64 * 1024); // ggml_init over our memory
  newVector(context.address, 0, 1000);
  console.log(`1000 numbers in ${context.usedBytes} bytes of ggml`);
  context[Symbol.dispose]();

  const buffer = host.call(() => allocBuffer(host.bufferType, MiB));
  console.log(`${host.liveBuffers} buffer in a ${host.slot.active?.name}`);
  host.call(() => freeBuffer(buffer));

  // From here on llama.cpp's own buffers come from the manager, too, and stay below its
  // limit.
  host.redirect();
  const caching = new CachingMemoryManager(1, new MemoryManagerDeviceInterface());
  new MemoryManagerInstaller(
    new LimitingMemoryManager(caching, { limitBytes: 16 * MiB }),
    host,
  ).setAsMemoryManager();
  const refused = host.call(() => allocBuffer(host.bufferType, 32 * MiB));
  if (refused === 0) console.log(`refused: ${host.lastError?.code}`);
  host.dispose(); // after the last buffer and context
} catch (error) {
  if (!MemoryError.is(error, 'ERR_MEM_DEVICE_ABSENT')) throw error;
  console.log(error.message);
}
