// Multiply matrices by cuBLAS on blocks of a pool, on a stream of this program. Needs an
// NVIDIA card and libcublas.
// node cublas.mts [path of libcudart] [path of libcublas]
import {
  MemoryError,
  MemoryManagerDeviceInterface,
  MemoryManagerInstaller,
  MemoryRuntime,
  MiB,
} from 'stowage';
import { CudaDevice } from 'stowage/adapters/cuda';
import { type CParameters, type CValuesOf, cFunction, openLibrary } from 'stowage/ffi';
import { PoolMemoryManager } from 'stowage/managers';

const N = 256;
const BYTES = N * N * 4;
const WORKSPACE_BYTES = 4 * MiB;
const [, , runtimePath, cublasPath] = process.argv;

async function multiply() {
  const device = new CudaDevice(runtimePath === undefined ? {} : { library: runtimePath });
  device.synchronize(); // says why there is no card
  const names = [
    'libcublas.so.13',
    'libcublas.so.12',
    'libcublas.so',
    '/usr/local/cuda/lib64/libcublas.so',
    'cublas64_13.dll',
  ];
  const library = openLibrary(cublasPath === undefined ? names : [cublasPath], {
    device: 'cuBLAS',
  });
  const call = <const P extends CParameters>(name: string, ...parameters: P) => {
    const native = cFunction(library, name, 'int', parameters);
    return (...values: CValuesOf<P>) => {
      const status = native(...values);
      if (status !== 0) throw new Error(`${name}: cuBLAS status ${status}`);
    };
  };
  const HANDLE = 'uintptr_t';
  const create = call('cublasCreate_v2', 'uint64_t *');
  const destroy = call('cublasDestroy_v2', HANDLE);
  const setStream = call('cublasSetStream_v2', HANDLE, HANDLE);
  const setWorkspace = call('cublasSetWorkspace_v2', HANDLE, HANDLE, 'size_t');
  const SIZES = ['int', 'int', 'int', 'int', 'int'] as const;
  const MATRICES = ['float *', HANDLE, 'int', HANDLE, 'int', 'float *', HANDLE, 'int'] as const;
  const gemm = call('cublasSgemm_v2', HANDLE, ...SIZES, ...MATRICES);

  const runtime = new MemoryRuntime(device);
  const pool = new PoolMemoryManager(device.deviceCount, new MemoryManagerDeviceInterface());
  new MemoryManagerInstaller(pool, runtime).setAsMemoryManager();
  const stream = device.createStream();
  const out = new BigUint64Array(1);
  create(out);
  const handle = Number(out[0]);
  setStream(handle, device.streamHandle(stream.id));
  // All that cuBLAS works with is the pool's, for that stream.
  const { a, b, c, workspace } = runtime.withStream(stream, () => ({
    a: runtime.allocate(BYTES),
    b: runtime.allocate(BYTES),
    c: runtime.allocate(BYTES),
    // cuBLAS refuses less
    workspace: runtime.allocate(WORKSPACE_BYTES, { alignment: 256, tag: 'cuBLAS' }),
  }));
  setWorkspace(handle, workspace.ptr, WORKSPACE_BYTES);

  // Small integers, so that every sum is exact.
  const left = Float32Array.from({ length: N * N }, (_, i) => ((i * 7919) % 13) - 6);
  const right = Float32Array.from({ length: N * N }, (_, i) => ((i * 104729) % 11) - 5);
  const staging = runtime.allocate(BYTES, { pinned: true });
  for (const [block, numbers] of [
    [a, left],
    [b, right],
  ] as const) {
    staging.view(Float32Array).set(numbers);
    await device.copyAsync(block.ptr, staging.ptr, BYTES, stream.id);
  }
  gemm(
    handle,
    0,
    0,
    N,
    N,
    N,
    new Float32Array([1]),
    a.ptr,
    N,
    b.ptr,
    N,
    new Float32Array([0]),
    c.ptr,
    N,
  );
  await device.copyAsync(staging.ptr, c.ptr, BYTES, stream.id);

  const product = staging.view(Float32Array);
  let isRight = 0;
  for (let column = 0; column < N; column++) {
    for (let row = 0; row < N; row++) {
      let sum = 0;
      for (let k = 0; k < N; k++) sum += left[row + k * N] * right[k + column * N];
      if (product[row + column * N] === sum) isRight++;
    }
  }
  destroy(handle);
  stream.dispose();
  runtime.close();
  return isRight;
}

try {
  console.log(`cuBLAS got ${await multiply()} of ${N * N} numbers right`);
} catch (error) {
  if (!MemoryError.is(error, 'ERR_MEM_DEVICE_ABSENT')) throw error;
  console.log(error.message);
}
