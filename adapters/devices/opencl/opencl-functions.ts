import type { CValuesOf } from '../../ffi/c-types.js';
import { openLibrary } from '../../ffi/library.js';
import { checkStatus } from './opencl-status.js';

const HANDLE = 'uintptr_t';
// How many events to wait for, which, and where to leave the call's own.
const EVENTS = ['uint32_t', 'uint64_t *', 'uint64_t *'] as const;
const INFO = [HANDLE, 'uint32_t', 'size_t', 'uint8_t *', 'uint64_t *'] as const;
const TRANSFER = [HANDLE, HANDLE, 'uint32_t', 'size_t', 'size_t', 'uint8_t *', ...EVENTS] as const;

/** What each function gives and takes, as koffi writes it. @see Source: CL/cl.h, which names the parameters */
const SIGNATURES = {
  clGetPlatformIDs: ['int', ['uint32_t', 'uint64_t *', 'uint32_t *']],
  clGetPlatformInfo: ['int', INFO],
  clGetDeviceIDs: ['int', [HANDLE, 'uint64_t', 'uint32_t', 'uint64_t *', 'uint32_t *']],
  clGetDeviceInfo: ['int', INFO],
  clCreateContext: [HANDLE, ['uint64_t *', 'uint32_t', 'uint64_t *', HANDLE, HANDLE, 'int32_t *']],
  clReleaseContext: ['int', [HANDLE]],
  clCreateCommandQueueWithProperties: [HANDLE, [HANDLE, HANDLE, 'uint64_t *', 'int32_t *']],
  clReleaseCommandQueue: ['int', [HANDLE]],
  clFlush: ['int', [HANDLE]],
  clFinish: ['int', [HANDLE]],
  clSVMAlloc: [HANDLE, [HANDLE, 'uint64_t', 'size_t', 'uint32_t']],
  clSVMFree: ['void', [HANDLE, HANDLE]],
  clEnqueueSVMMemcpy: ['int', [HANDLE, 'uint32_t', HANDLE, HANDLE, 'size_t', ...EVENTS]],
  clEnqueueSVMMemFill: ['int', [HANDLE, HANDLE, 'uint8_t *', 'size_t', 'size_t', ...EVENTS]],
  clEnqueueSVMMap: ['int', [HANDLE, 'uint32_t', 'uint64_t', HANDLE, 'size_t', ...EVENTS]],
  clEnqueueSVMUnmap: ['int', [HANDLE, HANDLE, ...EVENTS]],
  clEnqueueMarkerWithWaitList: ['int', [HANDLE, ...EVENTS]],
  clEnqueueBarrierWithWaitList: ['int', [HANDLE, ...EVENTS]],
  clWaitForEvents: ['int', ['uint32_t', 'uint64_t *']],
  clGetEventInfo: ['int', [HANDLE, 'uint32_t', 'size_t', 'int32_t *', 'uint64_t *']],
  clReleaseEvent: ['int', [HANDLE]],
  clCreateBuffer: [HANDLE, [HANDLE, 'uint64_t', 'size_t', HANDLE, 'int32_t *']],
  clCreateSubBuffer: [HANDLE, [HANDLE, 'uint64_t', 'uint32_t', 'uint64_t *', 'int32_t *']],
  clReleaseMemObject: ['int', [HANDLE]],
  clEnqueueWriteBuffer: ['int', TRANSFER],
  clEnqueueReadBuffer: ['int', TRANSFER],
  clEnqueueCopyBuffer: ['int', [HANDLE, HANDLE, HANDLE, 'size_t', 'size_t', 'size_t', ...EVENTS]],
  clEnqueueFillBuffer: ['int', [HANDLE, HANDLE, 'uint8_t *', 'size_t', 'size_t', 'size_t', ...EVENTS]],
  clEnqueueMapBuffer: [HANDLE, [HANDLE, HANDLE, 'uint32_t', 'uint64_t', 'size_t', 'size_t', ...EVENTS, 'int32_t *']],
  clEnqueueUnmapMemObject: ['int', [HANDLE, HANDLE, HANDLE, ...EVENTS]],
} as const;

type Signatures = typeof SIGNATURES;
type Values<F extends keyof Signatures> = CValuesOf<Signatures[F][1]>;

/** The functions of OpenCL 2.0 that a device uses, by their C names, with the parameters of CL/cl.h. Each that gives an `int` gives a status. */
export type OpenClFunctions = { readonly [F in keyof Signatures]: (...values: Values<F>) => number };

/** The functions whose last argument is where they leave their status. */
type MakerName =
  | 'clCreateContext'
  | 'clCreateCommandQueueWithProperties'
  | 'clCreateBuffer'
  | 'clCreateSubBuffer'
  | 'clEnqueueMapBuffer';
type ButLast<P extends readonly unknown[]> = P extends readonly [...infer Rest, unknown] ? Rest : never;
type AnyFunction = (...values: unknown[]) => number;

const LIBRARY_NAMES: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  win32: ['OpenCL.dll'],
  // Apple's library is OpenCL 1.2: it loads, lacks shared virtual memory, and is therefore absent.
  darwin: ['/System/Library/Frameworks/OpenCL.framework/OpenCL', 'libOpenCL.dylib'],
};

/**
 * Loads the OpenCL library.
 *
 * @param path - where it is; the system's by default
 * @throws ERR_MEM_DEVICE_ABSENT when there is none, or it is older than OpenCL 2.0
 */
export function loadOpenCl(path?: string): OpenClFunctions {
  const names = path === undefined ? (LIBRARY_NAMES[process.platform] ?? ['libOpenCL.so.1', 'libOpenCL.so']) : [path];
  const library = openLibrary(names, { device: 'OpenCL' });
  const functions = Object.entries(SIGNATURES).map(([name, [result, parameters]]) => [
    name,
    library.func(name, result, parameters),
  ]);
  return Object.fromEntries(functions) as OpenClFunctions;
}

/** Makes a call that answers with a status. @throws ERR_MEM_NATIVE */
export function call<F extends Exclude<keyof Signatures, MakerName>>(cl: OpenClFunctions, name: F, ...values: Values<F>): void {
  checkStatus(name, (cl[name] as AnyFunction)(...values));
}

/** Makes a call that leaves its status in the last argument. @returns its answer @throws ERR_MEM_NATIVE */
export function make<F extends MakerName>(cl: OpenClFunctions, name: F, ...values: ButLast<Values<F>>): number {
  const status = new Int32Array(1);
  const made = (cl[name] as AnyFunction)(...values, status);
  checkStatus(name, status[0] as number);
  return made;
}

/** Makes a call that leaves an event. @param enqueue - makes it, with the place for the event @returns the cl_event, as a number */
export function eventOf(enqueue: (event: BigUint64Array) => void): number {
  const event = new BigUint64Array(1);
  enqueue(event);
  return Number(event[0]);
}

/** Makes 64-bit words of numbers: handles, sizes. */
export function words(...values: number[]): BigUint64Array {
  return BigUint64Array.from(values, (value) => BigInt(value));
}
