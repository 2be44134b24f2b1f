import { MemoryError } from '../../../src/core/errors.js';
import type { CValuesOf } from '../../ffi/c-types.js';
import { openLibrary } from '../../ffi/library.js';

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

/** The functions of libraries that were loaded, which stay loaded: declaring them takes 0.5 ms. */
const loaded = new Map<string | undefined, OpenClFunctions>();

/**
 * Loads the OpenCL library, once.
 *
 * @param path - where it is; the system's by default
 * @throws ERR_MEM_DEVICE_ABSENT when there is none, or it is older than OpenCL 2.0
 */
export function loadOpenCl(path?: string): OpenClFunctions {
  const known = loaded.get(path);
  if (known !== undefined) return known;
  const names = path === undefined ? (LIBRARY_NAMES[process.platform] ?? ['libOpenCL.so.1', 'libOpenCL.so']) : [path];
  const library = openLibrary(names, { device: 'OpenCL' });
  const entries = Object.entries(SIGNATURES).map(([name, [result, parameters]]) => [
    name,
    library.func(name, result, parameters),
  ]);
  const functions = Object.freeze(Object.fromEntries(entries)) as OpenClFunctions;
  loaded.set(path, functions);
  return functions;
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

/** The error codes of the OpenCL headers. @see Source: CL/cl.h and CL/cl_ext.h of the Khronos headers, version 3.0 */
const STATUS_NAMES: ReadonlyMap<number, string> = new Map([
  [0, 'CL_SUCCESS'],
  [-1, 'CL_DEVICE_NOT_FOUND'],
  [-2, 'CL_DEVICE_NOT_AVAILABLE'],
  [-3, 'CL_COMPILER_NOT_AVAILABLE'],
  [-4, 'CL_MEM_OBJECT_ALLOCATION_FAILURE'],
  [-5, 'CL_OUT_OF_RESOURCES'],
  [-6, 'CL_OUT_OF_HOST_MEMORY'],
  [-7, 'CL_PROFILING_INFO_NOT_AVAILABLE'],
  [-8, 'CL_MEM_COPY_OVERLAP'],
  [-9, 'CL_IMAGE_FORMAT_MISMATCH'],
  [-10, 'CL_IMAGE_FORMAT_NOT_SUPPORTED'],
  [-11, 'CL_BUILD_PROGRAM_FAILURE'],
  [-12, 'CL_MAP_FAILURE'],
  [-13, 'CL_MISALIGNED_SUB_BUFFER_OFFSET'],
  [-14, 'CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST'],
  [-15, 'CL_COMPILE_PROGRAM_FAILURE'],
  [-16, 'CL_LINKER_NOT_AVAILABLE'],
  [-17, 'CL_LINK_PROGRAM_FAILURE'],
  [-18, 'CL_DEVICE_PARTITION_FAILED'],
  [-19, 'CL_KERNEL_ARG_INFO_NOT_AVAILABLE'],
  [-30, 'CL_INVALID_VALUE'],
  [-31, 'CL_INVALID_DEVICE_TYPE'],
  [-32, 'CL_INVALID_PLATFORM'],
  [-33, 'CL_INVALID_DEVICE'],
  [-34, 'CL_INVALID_CONTEXT'],
  [-35, 'CL_INVALID_QUEUE_PROPERTIES'],
  [-36, 'CL_INVALID_COMMAND_QUEUE'],
  [-37, 'CL_INVALID_HOST_PTR'],
  [-38, 'CL_INVALID_MEM_OBJECT'],
  [-39, 'CL_INVALID_IMAGE_FORMAT_DESCRIPTOR'],
  [-40, 'CL_INVALID_IMAGE_SIZE'],
  [-41, 'CL_INVALID_SAMPLER'],
  [-42, 'CL_INVALID_BINARY'],
  [-43, 'CL_INVALID_BUILD_OPTIONS'],
  [-44, 'CL_INVALID_PROGRAM'],
  [-45, 'CL_INVALID_PROGRAM_EXECUTABLE'],
  [-46, 'CL_INVALID_KERNEL_NAME'],
  [-47, 'CL_INVALID_KERNEL_DEFINITION'],
  [-48, 'CL_INVALID_KERNEL'],
  [-49, 'CL_INVALID_ARG_INDEX'],
  [-50, 'CL_INVALID_ARG_VALUE'],
  [-51, 'CL_INVALID_ARG_SIZE'],
  [-52, 'CL_INVALID_KERNEL_ARGS'],
  [-53, 'CL_INVALID_WORK_DIMENSION'],
  [-54, 'CL_INVALID_WORK_GROUP_SIZE'],
  [-55, 'CL_INVALID_WORK_ITEM_SIZE'],
  [-56, 'CL_INVALID_GLOBAL_OFFSET'],
  [-57, 'CL_INVALID_EVENT_WAIT_LIST'],
  [-58, 'CL_INVALID_EVENT'],
  [-59, 'CL_INVALID_OPERATION'],
  [-60, 'CL_INVALID_GL_OBJECT'],
  [-61, 'CL_INVALID_BUFFER_SIZE'],
  [-62, 'CL_INVALID_MIP_LEVEL'],
  [-63, 'CL_INVALID_GLOBAL_WORK_SIZE'],
  [-64, 'CL_INVALID_PROPERTY'],
  [-65, 'CL_INVALID_IMAGE_DESCRIPTOR'],
  [-66, 'CL_INVALID_COMPILER_OPTIONS'],
  [-67, 'CL_INVALID_LINKER_OPTIONS'],
  [-68, 'CL_INVALID_DEVICE_PARTITION_COUNT'],
  [-69, 'CL_INVALID_PIPE_SIZE'],
  [-70, 'CL_INVALID_DEVICE_QUEUE'],
  [-71, 'CL_INVALID_SPEC_ID'],
  [-72, 'CL_MAX_SIZE_RESTRICTION_EXCEEDED'],
  [-1001, 'CL_PLATFORM_NOT_FOUND_KHR'],
  [-1057, 'CL_DEVICE_PARTITION_FAILED_EXT'],
  [-1058, 'CL_INVALID_PARTITION_COUNT_EXT'],
  [-1059, 'CL_INVALID_PARTITION_NAME_EXT'],
  [-1121, 'CL_CONTEXT_TERMINATED_KHR'],
]);

const CL_SUCCESS = 0;
export const CL_DEVICE_NOT_FOUND = -1;
export const CL_MEM_OBJECT_ALLOCATION_FAILURE = -4;
const CL_OUT_OF_RESOURCES = -5;
const CL_OUT_OF_HOST_MEMORY = -6;
const OUT_OF_MEMORY: readonly number[] = [CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY];

/** The name of an OpenCL error code; one that the headers do not know is called unknown. */
export function statusNameOf(status: number): string {
  return STATUS_NAMES.get(status) ?? 'an unknown OpenCL status';
}

/** What a call that answered with an error becomes. */
export function statusError(functionName: string, status: number): MemoryError<'ERR_MEM_NATIVE'> {
  return new MemoryError('ERR_MEM_NATIVE', { functionName, status, statusName: statusNameOf(status) });
}

/** Throws unless a call has succeeded. @throws ERR_MEM_NATIVE */
export function checkStatus(functionName: string, status: number): void {
  if (status !== CL_SUCCESS) throw statusError(functionName, status);
}

/** Tells whether an error of {@link checkStatus} means that there is no memory. */
export function isOutOfMemory(error: unknown): boolean {
  return MemoryError.is(error, 'ERR_MEM_NATIVE') && OUT_OF_MEMORY.includes(error.facts.status);
}
