// Send bytes to a CUDA card and back, on a stream. Needs an NVIDIA card: without one it
// says so.
import { MemoryError, MemoryRuntime, MiB } from 'stowage';
import { CudaDevice } from 'stowage/adapters/cuda';

/** Sends bytes to the card and back. */
async function roundTrip(device: CudaDevice) {
  const runtime = new MemoryRuntime(device);
  const block = runtime.allocate(1 * MiB);
  const staging = runtime.allocate(1 * MiB, { pinned: true });
  const stream = device.createStream();
  await device.fillAsync(block.ptr, 42, 1 * MiB, stream.id);
  await device.copyAsync(staging.ptr, block.ptr, 1 * MiB, stream.id);
  const [first] = staging.view(Uint8Array);
  stream[Symbol.dispose]();
  runtime.close();
  return first;
}

try {
  const library = process.argv[2]; // else what the loader finds
  const device = new CudaDevice(library === undefined ? {} : { library });
  console.log(`${device.deviceName(0)} sent ${await roundTrip(device)} back`);
} catch (error) {
  if (!MemoryError.is(error, 'ERR_MEM_DEVICE_ABSENT')) throw error;
  console.log(error.message);
}
