// Run an OpenCL kernel on blocks of a memory manager. Needs OpenCL (Debian: ocl-icd-
// libopencl1, pocl-opencl-icd for the CPU).
import { MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime } from 'stowage';
import { OpenClDevice } from 'stowage/adapters/opencl';
import { cFunction, openLibrary } from 'stowage/ffi';
import { PoolMemoryManager } from 'stowage/managers';

const COUNT = 4096;
const SOURCE = `kernel void saxpy(global float *y, global const float *x, float a) {
  size_t i = get_global_id(0);
  y[i] += a * x[i];
}`;

const device = new OpenClDevice();
const runtime = new MemoryRuntime(device);
const pool = new PoolMemoryManager(device.deviceCount, new MemoryManagerDeviceInterface());
new MemoryManagerInstaller(pool, runtime).setAsMemoryManager();

// The pool cuts both blocks out of what it got from the device. The kernel takes their
// addresses as they are.
const x = runtime.allocate(COUNT * 4);
const y = runtime.allocate(COUNT * 4);
for (const [block, factor] of [
  [x, 1],
  [y, 100],
] as const) {
  const mapping = device.map(block.ptr, block.bytes, 'overwrite');
  block.view(Float32Array).forEach((_, i, numbers) => {
    numbers[i] = i * factor;
  });
  mapping.dispose();
}

// The kernel is the program's own: OpenCL calls with the handles of the device.
const HANDLE = 'uintptr_t';
const cl = openLibrary(['libOpenCL.so.1', 'OpenCL.dll']);
const createProgram = cFunction(cl, 'clCreateProgramWithSource', HANDLE, [
  HANDLE,
  'uint32_t',
  'const char **',
  HANDLE,
  'int *',
]);
const buildProgram = cFunction(cl, 'clBuildProgram', 'int', [
  HANDLE,
  'uint32_t',
  'uint64_t *',
  HANDLE,
  HANDLE,
  HANDLE,
]);
const createKernel = cFunction(cl, 'clCreateKernel', HANDLE, [HANDLE, 'const char *', 'int *']);
const setPointer = cFunction(cl, 'clSetKernelArgSVMPointer', 'int', [HANDLE, 'uint32_t', HANDLE]);
const setArgument = cFunction(cl, 'clSetKernelArg', 'int', [
  HANDLE,
  'uint32_t',
  'size_t',
  'float *',
]);
const EVENTS = ['uint32_t', HANDLE, HANDLE] as const;
const LAUNCH = [
  HANDLE,
  HANDLE,
  'uint32_t',
  'uint64_t *',
  'uint64_t *',
  'uint64_t *',
  ...EVENTS,
] as const;
const launch = cFunction(cl, 'clEnqueueNDRangeKernel', 'int', LAUNCH);
const releaseKernel = cFunction(cl, 'clReleaseKernel', 'int', [HANDLE]);
const releaseProgram = cFunction(cl, 'clReleaseProgram', 'int', [HANDLE]);
const check = (status: number | undefined) => {
  if (status !== 0) throw new Error(`OpenCL status ${status}`);
};

const { context, queue } = device.handles();
const status = new Int32Array(1);
const program = createProgram(context, 1, [SOURCE], 0, status);
check(status[0]);
check(buildProgram(program, 0, null, 0, 0, 0));
const saxpy = createKernel(program, 'saxpy', status);
check(status[0]);
check(setPointer(saxpy, 0, y.ptr));
check(setPointer(saxpy, 1, x.ptr));
check(setArgument(saxpy, 2, 4, new Float32Array([2])));
check(launch(queue, saxpy, 1, null, new BigUint64Array([BigInt(COUNT)]), null, 0, 0, 0));

// waits for the kernel: the queue is in order
const result = device.map(y.ptr, y.bytes, 'read');
const right = y.view(Float32Array).filter((value, i) => value === 102 * i).length;
result.dispose();
console.log(`${right} of ${COUNT} numbers are right, ${y.ptr - x.ptr} bytes apart`);

check(releaseKernel(saxpy));
check(releaseProgram(program));
runtime.close();
device.dispose();
