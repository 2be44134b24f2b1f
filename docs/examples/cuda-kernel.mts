// Compile a CUDA kernel by NVRTC and launch it on parts of a block. Needs an NVIDIA card
// and libnvrtc.
// node cuda-kernel.mts [path of libcudart] [path of libnvrtc] [path of libcuda]
import {
  MemoryError,
  MemoryManagerDeviceInterface,
  MemoryManagerInstaller,
  MemoryRuntime,
} from 'stowage';
import { CudaDevice } from 'stowage/adapters/cuda';
import {
  type CParameters,
  type CValuesOf,
  cFunction,
  type NativeLibrary,
  openLibrary,
} from 'stowage/ffi';
import { PoolMemoryManager } from 'stowage/managers';

const COUNT = 4096;
const BYTES = COUNT * 4;
const SOURCE = `extern "C" __global__ void saxpy(float a, const float *x, float *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] += a * x[i];
}`;
const [, , runtimePath, nvrtcPath, driverPath] = process.argv;
const HANDLE = 'uintptr_t';
const OUT = 'uint64_t *';

function functionsOf(library: NativeLibrary) {
  return <const P extends CParameters>(name: string, ...parameters: P) => {
    const native = cFunction(library, name, 'int', parameters);
    return (...values: CValuesOf<P>) => {
      const status = native(...values);
      if (status !== 0) throw new Error(`${name}: status ${status}`);
    };
  };
}

/** Compiles the source. Gives PTX, which the driver makes the card's own code of. */
function compile(nvrtc: NativeLibrary) {
  const out = new BigUint64Array(1);
  const call = functionsOf(nvrtc);
  call(
    'nvrtcCreateProgram',
    OUT,
    'const char *',
    'const char *',
    'int',
    HANDLE,
    HANDLE,
  )(out, SOURCE, 'saxpy.cu', 0, 0, 0);
  const program = Number(out[0]);
  call('nvrtcCompileProgram', HANDLE, 'int', HANDLE)(program, 0, 0);
  call('nvrtcGetPTXSize', HANDLE, OUT)(program, out);
  const ptx = new Uint8Array(Number(out[0]));
  call('nvrtcGetPTX', HANDLE, 'uint8_t *')(program, ptx);
  call('nvrtcDestroyProgram', OUT)(new BigUint64Array([BigInt(program)]));
  return ptx;
}

async function launch() {
  const device = new CudaDevice(runtimePath === undefined ? {} : { library: runtimePath });
  device.synchronize(); // says why there is no card, and makes it the current one
  const names = [
    'libnvrtc.so.13',
    'libnvrtc.so.12',
    'libnvrtc.so',
    '/usr/local/cuda/lib64/libnvrtc.so',
    'nvrtc64_130_0.dll',
  ];
  const nvrtc = openLibrary(nvrtcPath === undefined ? names : [nvrtcPath], { device: 'NVRTC' });
  const call = functionsOf(
    openLibrary([driverPath ?? (process.platform === 'win32' ? 'nvcuda.dll' : 'libcuda.so.1')]),
  );

  const out = new BigUint64Array(1);
  call('cuModuleLoadData', OUT, 'uint8_t *')(out, compile(nvrtc));
  const module = Number(out[0]);
  call('cuModuleGetFunction', OUT, HANDLE, 'const char *')(out, module, 'saxpy');
  const saxpy = Number(out[0]);

  const runtime = new MemoryRuntime(device);
  const pool = new PoolMemoryManager(device.deviceCount, new MemoryManagerDeviceInterface());
  new MemoryManagerInstaller(pool, runtime).setAsMemoryManager();
  const stream = device.createStream();
  // x is the first half of the block, y the second: a kernel takes any address in it.
  const block = runtime.allocate(2 * BYTES, { stream });
  const [x, y] = [block.ptr, block.ptr + BYTES];
  const staging = runtime.allocate(2 * BYTES, { pinned: true });
  const numbers = staging.view(Float32Array);
  numbers.forEach((_, i) => {
    numbers[i] = i < COUNT ? i : 100 * (i - COUNT);
  });
  await device.copyAsync(block.ptr, staging.ptr, 2 * BYTES, stream.id);

  // The driver reads each argument where its address says. Memory whose address is known
  // holds them: 8 bytes each.
  const values = runtime.allocate(4 * 8, { pinned: true });
  values.view(Float32Array)[0] = 2;
  values.view(BigUint64Array).set([BigInt(x), BigInt(y)], 1);
  values.view(Int32Array)[6] = COUNT;
  const addresses = BigUint64Array.from({ length: 4 }, (_, i) => BigInt(values.ptr + 8 * i));
  const SIZES = [
    'uint32_t',
    'uint32_t',
    'uint32_t',
    'uint32_t',
    'uint32_t',
    'uint32_t',
    'uint32_t',
  ] as const;
  const launchKernel = call('cuLaunchKernel', HANDLE, ...SIZES, HANDLE, 'uint64_t *', HANDLE);
  launchKernel(
    saxpy,
    COUNT / 256,
    1,
    1,
    256,
    1,
    1,
    0,
    device.streamHandle(stream.id),
    addresses,
    0,
  );
  await device.copyAsync(staging.ptr, block.ptr, 2 * BYTES, stream.id);

  const isRight = numbers.subarray(COUNT).filter((value, i) => value === 102 * i).length;
  call('cuModuleUnload', HANDLE)(module);
  stream.dispose();
  runtime.close();
  return isRight;
}

try {
  console.log(`the kernel got ${await launch()} of ${COUNT} numbers right`);
} catch (error) {
  if (!MemoryError.is(error, 'ERR_MEM_DEVICE_ABSENT')) throw error;
  console.log(error.message);
}
