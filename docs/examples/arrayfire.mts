// Put a limit under ArrayFire. Needs ArrayFire 3.8 or later; its library's path may be
// given as an argument.
import { MemoryError, MemoryManagerDeviceInterface, MemoryManagerInstaller, MiB } from 'stowage';
import { ArrayFireHost } from 'stowage/adapters/arrayfire';
import { cFunction } from 'stowage/ffi';
import { CachingMemoryManager, LimitingMemoryManager } from 'stowage/managers';

const [library] = process.argv.slice(2);
try {
  const host = ArrayFireHost.open(library === undefined ? {} : { library });
  const caching = new CachingMemoryManager(host.deviceCount, new MemoryManagerDeviceInterface());
  new MemoryManagerInstaller(
    new LimitingMemoryManager(caching, { limitBytes: 16 * MiB }),
    host,
  ).setAsMemoryManager();

  const constant = cFunction(host.library, 'af_constant', 'int', [
    'uint64_t *',
    'double',
    'uint32_t',
    'int64_t *',
    'int',
  ]);
  const evaluate = cFunction(host.library, 'af_eval', 'int', ['uintptr_t']);
  const release = cFunction(host.library, 'af_release_array', 'int', ['uintptr_t']);

  const array = new BigUint64Array(1); // the handle
  for (const elements of [1_000_000, 8_000_000]) {
    // Arrays are lazy: this one gets memory when it is evaluated.
    host.call(() => constant(array, 1, 1, new BigInt64Array([BigInt(elements)]), 0));
    // Calls that may allocate go through the host, which throws what went wrong in a
    // callback.
    const status = host.call(() => evaluate(Number(array[0])));
    const why = host.lastError?.code ?? 'no error';
    console.log(`${elements} floats: status ${status}, ${why}, ${host.slot.liveBlocks} live`);
    host.call(() => release(Number(array[0])));
  }
  host.dispose(); // after the last array: ArrayFire goes on with its own manager
} catch (error) {
  if (!MemoryError.is(error, 'ERR_MEM_DEVICE_ABSENT')) throw error;
  console.log(error.message);
}
